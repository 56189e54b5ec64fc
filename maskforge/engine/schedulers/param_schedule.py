"""Schedules of optimizer settings as functions of (config, step).

MMEngine's schedulers multiply the present value by a small factor at every step and store their arguments beside their
counters: a run that is resumed with a longer schedule keeps the old one, silently. Here the value is computed anew at
every step from the group's initial value and the step count, so the config always rules, and a resumed run is where an
unbroken one would be.
"""
import difflib
from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import _ParamScheduler
from mmengine.optim.scheduler.param_scheduler import INF

from .schedule_stack import schedule_stack


class ParamSchedule(_ParamScheduler):
    """One schedule of one setting (``param_name``) of the parameter groups.

    Several schedules of the same setting compose in the order of the config: each maps the value that comes from the
    ones before it. A schedule does nothing before ``begin`` and stays at its last value from ``end`` on.

    Args:
        optimizer: the optimizer or its wrapper.
        param_name: key in the parameter groups, such as ``'lr'``, ``'momentum'`` or ``'weight_decay'``.
        groups: name or names of rules for this setting (``paramwise_cfg.rules``, see
            ``PatternOptimWrapperConstructor``) whose groups the schedule is for; by default it is for all.
        begin, end: the schedule runs while ``begin <= step < end``.
        last_step: index of the last step that was taken before, -1 for a new run.
        by_epoch: the step counts epochs; otherwise iterations.
        verbose: log the values at every step.

    Raises:
        ValueError: ``end`` is not after ``begin``, or no group has one of the names in ``groups``.
    """

    # arguments that decide the values, by their attribute names (they equal MMEngine's)
    settings: tuple[str, ...] = ('begin', 'end', 'by_epoch', 'groups')
    # arguments that count epochs and are multiplied by the epoch's length in `build_iter_from_epoch`
    step_arguments: tuple[str, ...] = ()

    def __init__(self, optimizer, param_name: str, *, begin: int = 0, end: int = INF, last_step: int = -1,
                 by_epoch: bool = True, verbose: bool = False, groups: str | Sequence[str] | None = None):
        # MMEngine's constructor is not called: it wraps `optimizer.step` and starts the chained form
        if end <= begin:
            raise ValueError(f'{type(self).__name__}: end must be larger than begin, got begin={begin}, end={end}.')
        self.optimizer = optimizer
        self.param_name = param_name
        self.begin, self.end, self.by_epoch, self.verbose = begin, end, by_epoch, verbose
        self.groups = [groups] if isinstance(groups, str) else None if groups is None else list(groups)
        self._check_groups()
        self._global_step = last_step if last_step < 0 else begin + last_step
        self._stack = schedule_stack(optimizer, param_name)
        self._stack.schedules.append(self)
        self.step()

    def value_at(self, step: int, incoming: float, *, base: float, group: int) -> float:
        """The scheduled value.

        Args:
            step: steps since ``begin``, in [0, end - begin).
            incoming: value from the schedules before this one (``base`` for the first).
            base: the group's initial value, as the config (and ``auto_scale_lr``) set it.
            group: index of the parameter group.
        """
        raise NotImplementedError

    def contribute(self, incoming: float, *, base: float, group: int) -> float:
        """Apply the schedule at the present step; the identity before ``begin`` and for the groups of others."""
        if self._global_step < self.begin or not self._moves(group):
            return incoming
        return self.value_at(self.last_step, incoming, base=base, group=group)

    def _moves(self, group: int) -> bool:
        return self.groups is None or self.optimizer.param_groups[group].get(f'{self.param_name}_rule') in self.groups

    def _check_groups(self) -> None:
        known = sorted({group[f'{self.param_name}_rule'] for group in self.optimizer.param_groups
                        if f'{self.param_name}_rule' in group})
        for name in self.groups or ():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f'did you mean {near[0]}?' if near else f'there are {", ".join(known) or "none"}.'
                raise ValueError(f"{type(self).__name__}: no rule of paramwise_cfg.rules.{self.param_name} that moves "
                                 f"a parameter has the name '{name}'; {hint}")

    @property
    def last_step(self) -> int:
        """Index of the present step within [begin, end), -1 before ``begin``."""
        return max(min(self._global_step, self.end - 1) - self.begin, -1)

    @property
    def global_step(self) -> int:
        """Epochs or iterations that are complete."""
        return self._global_step

    def step(self) -> None:
        """Count one epoch or iteration and set the values."""
        self._global_step += 1
        self._apply()

    def seek(self, step: int) -> None:
        """Go to the state after ``step`` epochs or iterations, whatever was before."""
        self._global_step = step
        self._stack.resync()
        self._apply()

    def _apply(self) -> None:
        self._last_value = self._stack.apply()
        if self.verbose and self.begin <= self._global_step < self.end:
            unit = 'epoch' if self.by_epoch else 'iteration'
            for group, value in enumerate(self._last_value):
                print_log(f'{unit} {self._global_step}: {self.param_name} of group {group} is {value:.4e}', 'current')

    def config(self) -> dict[str, Any]:
        """The settings that decide the values, as plain data."""
        return {name: _plain(getattr(self, name)) for name in dict.fromkeys((*ParamSchedule.settings, *self.settings))}

    def state_dict(self) -> dict[str, Any]:
        """Counters, and the settings for comparison only; nothing that would override a new config."""
        return dict(global_step=self._global_step, outside=self._stack.outside_factors(), config=self.config())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the counters; the config stays as it is, and what differs from the stored one is named in a warning.

        MMEngine's own scheduler states are read as well.
        """
        state = dict(state_dict)
        stored = state.get('config', {key: state[key] for key in self.config() if key in state})
        changed = {key: (_plain(old), self.config()[key]) for key, old in stored.items()
                   if key in self.config() and _plain(old) != self.config()[key]}
        if changed:
            listed = ', '.join(f'{key} {old} -> {new}' for key, (old, new) in changed.items())
            print_log(f'{type(self).__name__} ({self.param_name}): the schedule differs from the checkpoint\'s '
                      f'({listed}). The present config is used.', 'current', level=30)
        if 'by_epoch' not in changed:
            self._global_step = state.get('global_step', state.get('_global_step', self._global_step))
        self._stack.resync(state.get('outside'))
        self._apply()

    @classmethod
    def build_iter_from_epoch(cls, *args, epoch_length: int | None = None, by_epoch: bool = True, begin: int = 0,
                              end: int = INF, **kwargs):
        """Build a by-iteration schedule from arguments that count epochs (``convert_to_iter_based=True``).

        Raises:
            ValueError: ``by_epoch`` is False already, or the epoch's length is unknown.
        """
        if not by_epoch:
            raise ValueError(f'{cls.__name__}: convert_to_iter_based=True needs by_epoch=True, got by_epoch=False.')
        if not epoch_length or epoch_length < 0:
            raise ValueError(f'{cls.__name__}: convert_to_iter_based=True needs a positive epoch_length (iterations), '
                             f'got {epoch_length}.')
        for name in cls.step_arguments:
            if kwargs.get(name) is not None:
                kwargs[name] = _times(kwargs[name], epoch_length)
        end = end if end >= INF else int(end * epoch_length)
        return cls(*args, begin=int(begin * epoch_length), end=end, by_epoch=False, **kwargs)


def _times(value, factor: int):
    return [item * factor for item in value] if isinstance(value, (list, tuple)) else value * factor


def _plain(value: Any) -> Any:
    """Lists, numbers and strings only, so that stored and present settings compare (a Counter of milestones too)."""
    if hasattr(value, 'elements'):
        return sorted(value.elements())
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
