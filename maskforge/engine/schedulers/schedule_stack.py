"""All schedules of one setting of one optimizer, applied together."""
from typing import Any

_ATTRIBUTE = 'maskforge_schedules'


class ScheduleStack:
    """Sets ``group[param_name]`` to the composition of its schedules, starting from ``group['initial_' + param_name]``.

    A value that someone else changed between two steps (a hook, a scheduler class of a user in MMEngine's chained
    form) is kept as a factor, as it would be in MMEngine.
    """

    def __init__(self, optimizer, param_name: str):
        self.optimizer, self.param_name = optimizer, param_name
        self.schedules: list = []
        self._written: list[float] | None = None
        for group in optimizer.param_groups:
            group.setdefault(self._initial, group[param_name])
        self._outside = [group[param_name] / group[self._initial] if group[self._initial] else 1.0
                         for group in optimizer.param_groups]

    @property
    def _initial(self) -> str:
        return f'initial_{self.param_name}'

    def apply(self) -> list[float]:
        """Compute and set every group's value; return them."""
        # the groups are looked up each time: loading an optimizer's state replaces the dicts
        groups = self.optimizer.param_groups
        self._note_outside_changes(groups)
        self._written = [self._value(group[self._initial], index) for index, group in enumerate(groups)]
        for group, value in zip(groups, self._written):
            group[self.param_name] = value
            if self.param_name == 'momentum' and 'betas' in group:
                group['betas'] = (value, *group['betas'][1:])
        return list(self._written)

    def _value(self, base: float, index: int) -> float:
        value = base
        for schedule in self.schedules:
            value = schedule.contribute(value, base=base, group=index)
        return value * self._outside[index]

    def _note_outside_changes(self, groups: list[dict[str, Any]]) -> None:
        if self._written is None or len(self._written) != len(groups):
            return
        for index, (group, written) in enumerate(zip(groups, self._written)):
            if group[self.param_name] != written and written != 0:
                self._outside[index] *= group[self.param_name] / written

    def resync(self, outside: list[float] | None = None) -> None:
        """Forget the present values, which come from a checkpoint; ``outside`` are the factors stored with it."""
        count = len(self.optimizer.param_groups)
        for group in self.optimizer.param_groups:  # a checkpoint from before this setting was scheduled
            group.setdefault(self._initial, group[self.param_name])
        kept = outside if outside is not None and len(outside) == count else [1.0] * count
        self._outside, self._written = [float(factor) for factor in kept], None

    def outside_factors(self) -> list[float] | None:
        """Factors per group that others have applied; None when there are none."""
        self._note_outside_changes(self.optimizer.param_groups)
        self._written = [group[self.param_name] for group in self.optimizer.param_groups]
        return None if all(factor == 1.0 for factor in self._outside) else list(self._outside)


def schedule_stack(optimizer, param_name: str) -> ScheduleStack:
    """The stack of this optimizer and setting; made at the first call."""
    stacks = getattr(optimizer, _ATTRIBUTE, None)
    if stacks is None:
        stacks = {}
        setattr(optimizer, _ATTRIBUTE, stacks)
    if param_name not in stacks:
        stacks[param_name] = ScheduleStack(optimizer, param_name)
    return stacks[param_name]
