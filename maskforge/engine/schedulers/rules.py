"""The rules: how a setting depends on the step. ``n`` is the number of steps since ``begin``.

Values equal those of MMEngine's classes of the same names at every step of an ordinary schedule.
"""
import math
from collections.abc import Sequence

from mmengine.optim.scheduler.param_scheduler import INF

from maskforge.registry import PARAM_SCHEDULERS

from .param_schedule import ParamSchedule


def _check_factor(owner: ParamSchedule, **factors: float) -> None:
    for name, factor in factors.items():
        if not 0 <= factor <= 1:
            raise ValueError(f'{type(owner).__name__}: {name} must lie in [0, 1], got {factor}.')


@PARAM_SCHEDULERS.register_module()
class StepParamScheduler(ParamSchedule):
    """Multiply by ``gamma`` every ``step_size`` steps."""

    settings = ('step_size', 'gamma')
    step_arguments = ('step_size',)

    def __init__(self, optimizer, param_name: str, *, step_size: int, gamma: float = 0.1, **kwargs):
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, param_name, **kwargs)

    def value_at(self, step, incoming, *, base, group):
        return incoming * self.gamma ** (step // self.step_size)


@PARAM_SCHEDULERS.register_module()
class MultiStepParamScheduler(ParamSchedule):
    """Multiply by ``gamma`` at each of the ``milestones`` (steps since ``begin``; one given twice counts twice)."""

    settings = ('milestones', 'gamma')
    step_arguments = ('milestones',)

    def __init__(self, optimizer, param_name: str, *, milestones: Sequence[int], gamma: float = 0.1, **kwargs):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, param_name, **kwargs)

    def value_at(self, step, incoming, *, base, group):
        return incoming * self.gamma ** sum(0 <= milestone <= step for milestone in self.milestones)


@PARAM_SCHEDULERS.register_module()
class ExponentialParamScheduler(ParamSchedule):
    """Multiply by ``gamma`` at every step."""

    settings = ('gamma',)

    def __init__(self, optimizer, param_name: str, *, gamma: float, **kwargs):
        self.gamma = gamma
        super().__init__(optimizer, param_name, **kwargs)

    def value_at(self, step, incoming, *, base, group):
        return incoming * self.gamma ** step


@PARAM_SCHEDULERS.register_module()
class ConstantParamScheduler(ParamSchedule):
    """Multiply by ``factor`` until the last step, at which the full value is back."""

    settings = ('factor',)

    def __init__(self, optimizer, param_name: str, *, factor: float = 1 / 3, **kwargs):
        self.factor = factor
        _check_factor(self, factor=factor)
        super().__init__(optimizer, param_name, **kwargs)

    def value_at(self, step, incoming, *, base, group):
        last = self.end - self.begin - 1
        return incoming if step == last > 0 else incoming * self.factor


@PARAM_SCHEDULERS.register_module()
class LinearParamScheduler(ParamSchedule):
    """Multiply by a factor that goes in a straight line from ``start_factor`` to ``end_factor`` (the warm-up)."""

    settings = ('start_factor', 'end_factor')

    def __init__(self, optimizer, param_name: str, *, start_factor: float = 1 / 3, end_factor: float = 1.0, **kwargs):
        self.start_factor, self.end_factor = start_factor, end_factor
        _check_factor(self, start_factor=start_factor, end_factor=end_factor)
        super().__init__(optimizer, param_name, **kwargs)

    def value_at(self, step, incoming, *, base, group):
        last = self.end - self.begin - 1
        if step == last > 0:  # exactly the end factor, without rounding
            return incoming * self.end_factor
        return incoming * (self.start_factor + (self.end_factor - self.start_factor) * step / max(last, 1))


@PARAM_SCHEDULERS.register_module()
class QuadraticWarmupParamScheduler(ParamSchedule):
    """Warm up with the factor ``((n + 1) / (end - begin)) ** 2`` (MMDetection's schedule)."""

    def __init__(self, optimizer, param_name: str, **kwargs):
        if kwargs.get('end', INF) >= INF:
            raise ValueError(f'{type(self).__name__}: end is required, the step at which the warm-up is over.')
        super().__init__(optimizer, param_name, **kwargs)

    def value_at(self, step, incoming, *, base, group):
        return incoming * ((step + 1) / (self.end - self.begin)) ** 2


@PARAM_SCHEDULERS.register_module()
class PolyParamScheduler(ParamSchedule):
    """Fall to ``eta_min`` with ``((N - n) / N) ** power``, where ``N = end - begin - 1``."""

    settings = ('eta_min', 'power')

    def __init__(self, optimizer, param_name: str, *, eta_min: float = 0, power: float = 1.0, **kwargs):
        self.eta_min, self.power = eta_min, power
        super().__init__(optimizer, param_name, **kwargs)

    def value_at(self, step, incoming, *, base, group):
        last = max(self.end - self.begin - 1, 1)
        return (incoming - self.eta_min) * ((last - step) / last) ** self.power + self.eta_min


class _WithFloor(ParamSchedule):
    """Shared by the cosine rules: a lowest value, absolute or as a part of the initial value."""

    def __init__(self, optimizer, param_name: str, *, eta_min: float | None = None,
                 eta_min_ratio: float | None = None, **kwargs):
        if eta_min is not None and eta_min_ratio is not None:
            raise ValueError(f'{type(self).__name__}: give eta_min or eta_min_ratio, not both '
                             f'(got {eta_min} and {eta_min_ratio}).')
        self.eta_min = 0.0 if eta_min is None and eta_min_ratio is None else eta_min
        self.eta_min_ratio = eta_min_ratio
        super().__init__(optimizer, param_name, **kwargs)

    def _fall(self, part: float, start: float, base: float) -> float:
        """Half a cosine from ``start`` (part = 0) to the floor (part = 1), going up again behind it."""
        floor = self.eta_min if self.eta_min_ratio is None else base * self.eta_min_ratio
        return (1 + math.cos(math.pi * part)) / 2 * (start - floor) + floor


@PARAM_SCHEDULERS.register_module()
class CosineAnnealingParamScheduler(_WithFloor):
    """Fall along half a cosine within ``T_max`` steps (default: end - begin) to ``eta_min``.

    SGDR: Stochastic Gradient Descent with Warm Restarts, equation 5, without the restarts.
    """

    settings = ('T_max', 'eta_min', 'eta_min_ratio')
    step_arguments = ('T_max',)

    def __init__(self, optimizer, param_name: str, *, T_max: int | None = None, **kwargs):
        self.T_max = T_max or kwargs.get('end', INF) - kwargs.get('begin', 0)
        super().__init__(optimizer, param_name, **kwargs)

    def value_at(self, step, incoming, *, base, group):
        return self._fall(step / self.T_max, incoming, base)


@PARAM_SCHEDULERS.register_module()
class CosineRestartParamScheduler(_WithFloor):
    """Half cosines of the lengths ``periods``, each starting at ``restart_weights`` times the value (SGDR, section 3).

    Behind the last period the value stays where the last step left it.
    """

    settings = ('periods', 'restart_weights', 'eta_min', 'eta_min_ratio')
    step_arguments = ('periods',)

    def __init__(self, optimizer, param_name: str, *, periods: Sequence[int], restart_weights: Sequence[float] = (1,),
                 **kwargs):
        if len(periods) != len(restart_weights):
            raise ValueError(f'{type(self).__name__}: periods and restart_weights must have the same length, got '
                             f'{len(periods)} and {len(restart_weights)}.')
        self.periods, self.restart_weights = list(periods), list(restart_weights)
        super().__init__(optimizer, param_name, **kwargs)

    def value_at(self, step, incoming, *, base, group):
        step = min(step, sum(self.periods) - 1)
        index = 0
        while step >= self.periods[index]:
            step -= self.periods[index]
            index += 1
        return self._fall(step / self.periods[index], incoming * self.restart_weights[index], base)


@PARAM_SCHEDULERS.register_module()
class OneCycleParamScheduler(ParamSchedule):
    """The 1cycle policy (Super-Convergence, Smith and Topin 2018): up to ``eta_max``, then far down.

    The values come from ``eta_max`` alone; the optimizer's own learning rate does not enter.

    Args:
        eta_max: the highest value, one for all groups or one for each.
        total_steps: length of the cycle; default end - begin.
        pct_start: part of the cycle that goes up, in [0, 1].
        anneal_strategy: ``'cos'`` or ``'linear'``.
        div_factor: the first value is ``eta_max / div_factor``.
        final_div_factor: the last value is the first one divided by this.
        three_phase: go down in mirror image of the way up first.

    Raises:
        ValueError: an argument outside its range, a setting other than the learning rate, or a schedule that runs
            longer than the cycle.
    """

    settings = ('eta_max', 'total_steps', 'pct_start', 'anneal_strategy', 'div_factor', 'final_div_factor',
                'three_phase')
    step_arguments = ('total_steps',)

    def __init__(self, optimizer, param_name: str, *, eta_max: float | Sequence[float] = 0,
                 total_steps: int | None = None, pct_start: float = 0.3, anneal_strategy: str = 'cos',
                 div_factor: float = 25.0, final_div_factor: float = 1e4, three_phase: bool = False, **kwargs):
        length = kwargs.get('end', INF) - kwargs.get('begin', 0)
        self.eta_max, self.total_steps, self.pct_start = eta_max, total_steps or length, pct_start
        self.anneal_strategy, self.div_factor = anneal_strategy, div_factor
        self.final_div_factor, self.three_phase = final_div_factor, three_phase
        self._check(param_name, len(optimizer.param_groups), total_steps, length)
        super().__init__(optimizer, param_name, **kwargs)

    def _check(self, param_name: str, groups: int, total_steps: int | None, length: int) -> None:
        problems = {
            f'schedules the learning rate only, got {param_name!r}': param_name != 'lr',
            f'total_steps must be a positive integer, got {total_steps!r}':
                total_steps is not None and (not isinstance(total_steps, int) or total_steps <= 0),
            f'pct_start must be a float in [0, 1], got {self.pct_start!r}':
                not isinstance(self.pct_start, float) or not 0 <= self.pct_start <= 1,
            f"anneal_strategy must be 'cos' or 'linear', got {self.anneal_strategy!r}":
                self.anneal_strategy not in ('cos', 'linear'),
            f'eta_max needs one value or one for each of the {groups} parameter groups, got {self.eta_max}':
                isinstance(self.eta_max, (list, tuple)) and len(self.eta_max) != groups,
            f'the schedule has {length} steps, but total_steps is {total_steps}; set end=begin + total_steps':
                isinstance(total_steps, int) and INF > length > total_steps + 1,
        }
        for problem, is_so in problems.items():
            if is_so:
                raise ValueError(f'{type(self).__name__}: {problem}.')

    def value_at(self, step, incoming, *, base, group):
        top = self.eta_max[group] if isinstance(self.eta_max, (list, tuple)) else self.eta_max
        first = top / self.div_factor
        last, peak = self.total_steps - 1, self.pct_start * self.total_steps - 1
        phases = [(peak, first, top), (last, top, first / self.final_div_factor)]
        if self.three_phase:
            phases[1:] = [(2 * self.pct_start * self.total_steps - 2, top, first),
                          (last, first, first / self.final_div_factor)]
        begin = 0.0
        for end, start_value, end_value in phases[:-1]:
            if step <= end:
                return self._anneal(start_value, end_value, (step - begin) / (end - begin))
            begin = end
        end, start_value, end_value = phases[-1]
        return self._anneal(start_value, end_value, (step - begin) / (end - begin))

    def _anneal(self, start: float, end: float, part: float) -> float:
        if self.anneal_strategy == 'linear':
            return start + (end - start) * part
        return end + (start - end) / 2 * (1 + math.cos(math.pi * part))
