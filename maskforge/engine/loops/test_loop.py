"""Evaluation of a trained model."""
from mmengine.evaluator import Evaluator
from torch.utils.data import DataLoader

from maskforge.registry import LOOPS

from .evaluation_loop import EvaluationLoop


@LOOPS.register_module()
class TestLoop(EvaluationLoop):
    """Test; arguments as :class:`EvaluationLoop`."""

    __test__ = False  # pytest collects classes by this name otherwise
    stage = 'test'

    def __init__(self, runner, dataloader: DataLoader | dict, evaluator: Evaluator | dict | list,
                 fp16: bool = False, conf_threshold: float | int = 0.,
                 background_metrics: bool | None = None) -> None:
        super().__init__(runner, dataloader, evaluator, fp16=fp16, conf_threshold=conf_threshold,
                         background_metrics=background_metrics)
