"""Hooks: what happens around training besides training itself."""
from .broken_records_hook import BrokenRecordsHook
from .checkpoint_hook import CheckpointHook
from .det_visualization_hook import DetVisualizationHook
from .early_stopping_hook import EarlyStoppingHook
from .ema_hook import EMAHook
from .initial_validation_hook import InitialValidationHook
from .logger_hook import LoggerHook
from .momentum_teacher_hook import MomentumTeacherHook
from .nan_guard_hook import NaNGuardHook
from .param_scheduler_hook import ParamSchedulerHook
from .runtime_info_hook import RuntimeInfoHook

__all__ = ['BrokenRecordsHook', 'CheckpointHook', 'DetVisualizationHook', 'EMAHook', 'EarlyStoppingHook',
           'InitialValidationHook', 'LoggerHook', 'MomentumTeacherHook', 'NaNGuardHook', 'ParamSchedulerHook',
           'RuntimeInfoHook']
