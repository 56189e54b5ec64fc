"""Training, validation and test loops under MMEngine's names."""
from .epoch_based_train_loop import EpochBasedTrainLoop
from .evaluation_loop import EvaluationLoop
from .iter_based_train_loop import IterBasedTrainLoop
from .test_loop import TestLoop
from .train_loop import TrainLoop
from .val_loop import ValLoop

__all__ = ['EpochBasedTrainLoop', 'EvaluationLoop', 'IterBasedTrainLoop', 'TestLoop', 'TrainLoop', 'ValLoop']
