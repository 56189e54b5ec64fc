"""Validation during training, with the loss on the validation data where that is asked for."""
import copy
import math
from collections import defaultdict
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.structures import BaseDataElement
from torch.utils.data import DataLoader

from maskforge.engine.model_preparation import unwrapped
from maskforge.engine.random_state import private_randomness
from maskforge.registry import LOOPS

from .evaluation_loop import EvaluationLoop


@LOOPS.register_module()
class ValLoop(EvaluationLoop):
    """Validate.

    Args:
        runner, dataloader, evaluator, fp16, conf_threshold, background_metrics: see :class:`EvaluationLoop`.
        val_loss: also compute the model's training loss on every batch that carries truth (a second forward pass, in
            evaluation mode, with fixed randomness). The mean over all samples and processes is reported as
            ``val_loss``, and each term under its name with ``val_`` before it.
    """

    stage = 'val'

    def __init__(self, runner, dataloader: DataLoader | dict, evaluator: Evaluator | dict | list, fp16: bool = False,
                 val_loss: bool = False, conf_threshold: float | int = 0.,
                 background_metrics: bool | None = None) -> None:
        super().__init__(runner, dataloader, evaluator, fp16=fp16, conf_threshold=conf_threshold,
                         background_metrics=background_metrics)
        self.with_loss = val_loss
        self._terms: dict[str, list[tuple[float, int]]] = defaultdict(list)
        self._told = False

    def _evaluate(self) -> dict[str, Any] | None:
        self._terms.clear()
        metrics = super()._evaluate()
        if self.with_loss and metrics is not None:
            metrics.update(self._mean_losses())
        return metrics

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Measure the loss, if asked for, then predict."""
        if self.with_loss and self._has_truth(data_batch):
            # predictions are written into the samples, so the loss works on a copy
            self._measure_loss(copy.deepcopy(data_batch), number=idx * get_world_size() + get_rank())
        super().run_iter(idx, data_batch)

    def _measure_loss(self, data_batch: Any, *, number: int) -> None:
        model = unwrapped(self.runner.model)
        count = _sample_count(data_batch)
        with private_randomness(self.runner.seed + number), self.precision():
            data = model.data_preprocessor(data_batch, False)
            losses = model(**data, mode='loss') if isinstance(data, dict) else model(*data, mode='loss')
            _, terms = model.parse_losses(losses)
        for name, value in terms.items():
            self._terms[name].append((float(value), count))

    def _mean_losses(self) -> dict[str, float]:
        """Means over samples and processes; ``fsum`` makes them independent of how batches were dealt."""
        terms: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for part in all_gather_object(dict(self._terms)):
            for name, entries in part.items():
                terms[name] += entries
        return {f'val_{name}': math.fsum(value * count for value, count in entries) / sum(c for _, c in entries)
                for name, entries in terms.items()}

    def _has_truth(self, data_batch: Any) -> bool:
        samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
        if not samples or not isinstance(samples[0], BaseDataElement):
            return True
        found = any(len(sample.get(key).keys()) for sample in samples for key in sample.keys()  # noqa: SIM118
                    if key.startswith('gt_') and hasattr(sample.get(key), 'keys'))
        if not found and not self._told:
            print_log("val_loss=True, but the validation samples carry no truth: add dict(type='LoadAnnotations', "
                      "with_bbox=True, with_mask=True) to val_dataloader.dataset.pipeline", 'current', 30)
            self._told = True
        return found


def _sample_count(data_batch: Any) -> int:
    if isinstance(data_batch, dict):
        first = data_batch.get('data_samples', data_batch.get('inputs', next(iter(data_batch.values()), ())))
    else:
        first = data_batch[0]
    return len(first) if hasattr(first, '__len__') else 1
