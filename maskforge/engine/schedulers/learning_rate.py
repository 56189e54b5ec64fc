"""The rules for the learning rate, under MMEngine's (and MMDetection's) names."""
from maskforge.registry import PARAM_SCHEDULERS

from . import rules
from .reduce_on_plateau import ReduceOnPlateauParamScheduler


class _LearningRate:
    """Binds a rule to ``group['lr']``."""

    def __init__(self, optimizer, **kwargs):
        super().__init__(optimizer, 'lr', **kwargs)


@PARAM_SCHEDULERS.register_module()
class ConstantLR(_LearningRate, rules.ConstantParamScheduler):
    """See :class:`ConstantParamScheduler`."""


@PARAM_SCHEDULERS.register_module()
class CosineAnnealingLR(_LearningRate, rules.CosineAnnealingParamScheduler):
    """See :class:`CosineAnnealingParamScheduler`."""


@PARAM_SCHEDULERS.register_module()
class CosineRestartLR(_LearningRate, rules.CosineRestartParamScheduler):
    """See :class:`CosineRestartParamScheduler`."""


@PARAM_SCHEDULERS.register_module()
class ExponentialLR(_LearningRate, rules.ExponentialParamScheduler):
    """See :class:`ExponentialParamScheduler`."""


@PARAM_SCHEDULERS.register_module()
class LinearLR(_LearningRate, rules.LinearParamScheduler):
    """See :class:`LinearParamScheduler`."""


@PARAM_SCHEDULERS.register_module()
class MultiStepLR(_LearningRate, rules.MultiStepParamScheduler):
    """See :class:`MultiStepParamScheduler`."""


@PARAM_SCHEDULERS.register_module()
class OneCycleLR(_LearningRate, rules.OneCycleParamScheduler):
    """See :class:`OneCycleParamScheduler`."""


@PARAM_SCHEDULERS.register_module()
class PolyLR(_LearningRate, rules.PolyParamScheduler):
    """See :class:`PolyParamScheduler`."""


@PARAM_SCHEDULERS.register_module()
class QuadraticWarmupLR(_LearningRate, rules.QuadraticWarmupParamScheduler):
    """See :class:`QuadraticWarmupParamScheduler`."""


@PARAM_SCHEDULERS.register_module(name=['ReduceOnPlateauLR', 'AutoReduce'])
class ReduceOnPlateauLR(_LearningRate, ReduceOnPlateauParamScheduler):
    """See :class:`ReduceOnPlateauParamScheduler`; AutoReduce is TAO's name for it."""


@PARAM_SCHEDULERS.register_module()
class StepLR(_LearningRate, rules.StepParamScheduler):
    """See :class:`StepParamScheduler`."""
