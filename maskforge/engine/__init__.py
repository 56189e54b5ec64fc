"""Training, validation and test: MMEngine's engine, repaired and made exact."""
from . import (
    averaged_model,
    hooks,
    log_processor,
    loops,
    model_wrapper,
    optim,
    schedulers,
    strategies,
    test_time_augmentation,
)
from .hooks import signal_hook
from .runner import Runner
from .seeded_dataset import SeededDataset

__all__ = ['Runner', 'SeededDataset', 'averaged_model', 'hooks', 'log_processor', 'loops', 'model_wrapper', 'optim',
           'schedulers', 'signal_hook', 'strategies', 'test_time_augmentation']
