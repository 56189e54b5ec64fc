"""The schedule that waits for a metric to stall."""
import math
from collections.abc import Sequence
from typing import Any

from maskforge.registry import PARAM_SCHEDULERS

from .param_schedule import ParamSchedule


@PARAM_SCHEDULERS.register_module()
class ReduceOnPlateauParamScheduler(ParamSchedule):
    """Multiply by ``factor`` when ``monitor`` has not improved for more than ``patience`` validations.

    Args:
        monitor: key among the validation's metrics, such as ``'val_loss'`` or ``'coco/segm_mAP'``; keys that start
            with ``train_`` (``'train_loss'``) name means of the training losses since the last validation.
        rule: ``'less'`` or ``'greater'`` is better.
        factor: in (0, 1).
        patience: validations without improvement that are let pass.
        threshold, threshold_rule: what counts as improvement: by this part (``'rel'``) or this amount (``'abs'``).
        cooldown: validations that are not counted after a reduction.
        min_value: lowest value, one for all groups or one for each.
        eps: smaller reductions are not made.

    Raises:
        ValueError: an argument outside its range.
        KeyError: the metrics do not hold ``monitor``; the message lists what they hold.
    """

    need_val_args = True  # MMEngine's hook hands the metrics over
    settings = ('monitor', 'rule', 'factor', 'patience', 'threshold', 'threshold_rule', 'cooldown', 'min_value', 'eps')

    def __init__(self, optimizer, param_name: str, *, monitor: str = 'loss', rule: str = 'less', factor: float = 0.1,
                 patience: int = 10, threshold: float = 1e-4, threshold_rule: str = 'rel', cooldown: int = 0,
                 min_value: float | Sequence[float] = 0.0, eps: float = 1e-8, **kwargs):
        self.monitor, self.rule, self.factor, self.patience = monitor, rule, factor, patience
        self.threshold, self.threshold_rule, self.cooldown = threshold, threshold_rule, cooldown
        self.min_value, self.eps = min_value, eps
        self._check(optimizer, kwargs.get('by_epoch', True))
        self._state = dict(best=math.inf if rule == 'less' else -math.inf, bad=0, cooling=0, reductions=0)
        super().__init__(optimizer, param_name, **kwargs)

    def _check(self, optimizer, by_epoch: bool) -> None:
        own_groups = len(getattr(optimizer, 'optimizer', optimizer).param_groups)
        allowed = (own_groups, len(optimizer.param_groups))
        problems = {
            'works with by_epoch=True only': not by_epoch,
            f'factor must be below 1, got {self.factor}': self.factor >= 1,
            f'threshold must not be negative, got {self.threshold}': self.threshold < 0,
            f"rule must be 'less' or 'greater', got {self.rule!r}": self.rule not in ('less', 'greater'),
            f"threshold_rule must be 'rel' or 'abs', got {self.threshold_rule!r}":
                self.threshold_rule not in ('rel', 'abs'),
            f'min_value needs one value or one for each of the {own_groups} parameter groups':
                isinstance(self.min_value, (list, tuple)) and len(self.min_value) not in allowed,
        }
        for problem, is_so in problems.items():
            if is_so:
                raise ValueError(f'{type(self).__name__}: {problem}.')

    def value_at(self, step, incoming, *, base, group):
        value = incoming
        for _ in range(self._state['reductions']):
            lower = max(value * self.factor, self._floor(group))
            value = lower if value - lower > self.eps else value
        return value

    def contribute(self, incoming, *, base, group):
        # reductions are never taken back, so the step does not matter
        if not self._moves(group):
            return incoming
        return self.value_at(self.last_step, incoming, base=base, group=group)

    def _floor(self, group: int) -> float:
        if not isinstance(self.min_value, (list, tuple)):
            return self.min_value
        # the wrapper's last group only reports the base value: it shares the last floor
        return self.min_value[min(group, len(self.min_value) - 1)]

    def step(self, metrics: dict[str, Any] | None = None) -> None:
        """Count an epoch (no metrics), or look at the metrics of a validation."""
        if metrics is None:
            super().step()
        elif self.begin <= self._global_step < self.end:
            if self.monitor not in metrics:
                raise KeyError(f'{type(self).__name__} monitors {self.monitor!r}, which the validation did not give. '
                               f'It gave: {", ".join(sorted(metrics)) or "nothing"}.')
            self._observe(float(metrics[self.monitor]))
            self._apply()

    def _observe(self, value: float) -> None:
        state = self._state
        if self._is_better(value, state['best']):
            state.update(best=value, bad=0)
        else:
            state['bad'] += 1
        if state['cooling'] > 0:
            state.update(cooling=state['cooling'] - 1, bad=0)
        if state['bad'] > self.patience:
            state.update(bad=0, cooling=self.cooldown, reductions=state['reductions'] + 1)

    def _is_better(self, value: float, best: float) -> bool:
        margin = self.threshold * (abs(best) if self.threshold_rule == 'rel' and math.isfinite(best) else 1.0)
        return value < best - margin if self.rule == 'less' else value > best + margin

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), 'plateau': dict(self._state)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._state.update(state_dict.get('plateau', {}))
        super().load_state_dict(state_dict)


