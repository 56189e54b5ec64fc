"""The rules for the momentum (of SGD) or the first beta (of Adam and its kin), under MMEngine's names."""
from maskforge.registry import PARAM_SCHEDULERS

from . import rules
from .reduce_on_plateau import ReduceOnPlateauParamScheduler


class _Momentum:
    """Binds a rule to ``group['momentum']``; where the optimizer has ``betas``, the first of them follows it.

    Raises:
        ValueError: the optimizer has neither.
    """

    def __init__(self, optimizer, **kwargs):
        if 'momentum' not in optimizer.defaults:
            if 'betas' not in optimizer.defaults:
                name = type(getattr(optimizer, 'optimizer', optimizer)).__name__
                raise ValueError(f'{type(self).__name__}: {name} has neither momentum nor betas to schedule.')
            for group in optimizer.param_groups:
                group.setdefault('momentum', group['betas'][0])
        super().__init__(optimizer, 'momentum', **kwargs)


@PARAM_SCHEDULERS.register_module()
class ConstantMomentum(_Momentum, rules.ConstantParamScheduler):
    """See :class:`ConstantParamScheduler`."""


@PARAM_SCHEDULERS.register_module()
class CosineAnnealingMomentum(_Momentum, rules.CosineAnnealingParamScheduler):
    """See :class:`CosineAnnealingParamScheduler`."""


@PARAM_SCHEDULERS.register_module()
class CosineRestartMomentum(_Momentum, rules.CosineRestartParamScheduler):
    """See :class:`CosineRestartParamScheduler`."""


@PARAM_SCHEDULERS.register_module()
class ExponentialMomentum(_Momentum, rules.ExponentialParamScheduler):
    """See :class:`ExponentialParamScheduler`."""


@PARAM_SCHEDULERS.register_module()
class LinearMomentum(_Momentum, rules.LinearParamScheduler):
    """See :class:`LinearParamScheduler`."""


@PARAM_SCHEDULERS.register_module()
class MultiStepMomentum(_Momentum, rules.MultiStepParamScheduler):
    """See :class:`MultiStepParamScheduler`."""


@PARAM_SCHEDULERS.register_module()
class PolyMomentum(_Momentum, rules.PolyParamScheduler):
    """See :class:`PolyParamScheduler`."""


@PARAM_SCHEDULERS.register_module()
class QuadraticWarmupMomentum(_Momentum, rules.QuadraticWarmupParamScheduler):
    """See :class:`QuadraticWarmupParamScheduler`."""


@PARAM_SCHEDULERS.register_module()
class ReduceOnPlateauMomentum(_Momentum, ReduceOnPlateauParamScheduler):
    """See :class:`ReduceOnPlateauParamScheduler`."""


@PARAM_SCHEDULERS.register_module()
class StepMomentum(_Momentum, rules.StepParamScheduler):
    """See :class:`StepParamScheduler`."""
