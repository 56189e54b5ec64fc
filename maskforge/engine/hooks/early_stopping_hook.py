"""Ending a run that no longer improves."""
import math

from mmengine.hooks import Hook

from maskforge.registry import HOOKS

from .metric_rule import MetricRule, metric_value

_STATE = 'early_stopping'


@HOOKS.register_module()
class EarlyStoppingHook(Hook):
    """Stops the training when ``monitor`` has not improved for ``patience`` validations.

    Its state is kept in the message hub, so that a resumed run goes on counting.

    Args:
        monitor: a metric of the validation, such as ``'coco/segm_mAP'`` or ``'val_loss'``.
        rule: ``'greater'`` or ``'less'`` is better; None asks the name.
        min_delta: what counts as improvement, in the metric's unit.
        strict: a missing ``monitor`` is an error; otherwise a warning, once.
        check_finite: stop at once when the metric is NaN or infinite.
        patience: validations without improvement after which the run ends.
        stopping_threshold: end at once when the metric is better than this.

    Raises:
        ValueError: an unknown rule, or a patience below 1.
        KeyError: ``monitor`` is not among the metrics; the message lists them.
    """

    priority = 'LOWEST'

    def __init__(self, monitor: str, rule: str | None = None, min_delta: float = 0.1, strict: bool = True,
                 check_finite: bool = True, patience: int = 5, stopping_threshold: float | None = None):
        if patience < 1:
            raise ValueError(f'EarlyStoppingHook: patience must be at least 1, got {patience}.')
        self.monitor, self.patience, self.stopping_threshold = monitor, patience, stopping_threshold
        self.strict, self.check_finite = strict, check_finite
        self.metric_rule = MetricRule(monitor, rule)
        self.min_delta = min_delta if self.metric_rule.rule == 'greater' else -min_delta
        self.wait_count, self.best_score = 0, self.metric_rule.worst
        self._warned = False

    @property
    def rule(self) -> str:
        """``'greater'`` or ``'less'``."""
        return self.metric_rule.rule

    def before_train(self, runner) -> None:
        """Take up the count of a resumed run."""
        state = runner.message_hub.get_info(_STATE, {}).get(self.monitor)
        if state is not None:
            self.wait_count, self.best_score = int(state['waited']), float(state['best'])

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Look at the metric; end the run where it is time to."""
        if not self.strict and self.monitor not in (metrics or {}):
            if not self._warned:
                runner.logger.warning(f'EarlyStoppingHook waits for {self.monitor!r}, which is not among the metrics '
                                      f'{sorted(metrics or {})}.')
            self._warned = True
            return
        reason = self._reason_to_stop(metric_value(metrics or {}, self.monitor, 'EarlyStoppingHook'))
        states = dict(runner.message_hub.get_info(_STATE, {}))
        states[self.monitor] = dict(waited=self.wait_count, best=self.best_score)
        runner.message_hub.update_info(_STATE, states)
        if reason:
            runner.train_loop.stop_training = True
            runner.logger.info(f'Training ends early: {reason}')

    def _reason_to_stop(self, value: float) -> str:
        better = self.metric_rule.is_better
        if self.check_finite and not math.isfinite(value):
            return f'{self.monitor} is {value}; the best was {self.best_score:.4f}.'
        if self.stopping_threshold is not None and better(value, self.stopping_threshold):
            self.best_score = value
            return f'{self.monitor} = {value:.4f} passed {self.stopping_threshold}.'
        if math.isinf(self.best_score) or not better(self.best_score + self.min_delta, value):
            self.wait_count, self.best_score = 0, value
            return ''
        self.wait_count += 1
        if self.wait_count < self.patience:
            return ''
        return (f'{self.monitor} did not improve by {abs(self.min_delta)} in {self.wait_count} validations; '
                f'the best was {self.best_score:.4f}.')
