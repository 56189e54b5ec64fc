"""Schedules of learning rate and momentum, computed from config and step."""
from . import learning_rate, momentum
from .param_schedule import ParamSchedule
from .reduce_on_plateau import ReduceOnPlateauParamScheduler

__all__ = ['ParamSchedule', 'ReduceOnPlateauParamScheduler', 'learning_rate', 'momentum']
