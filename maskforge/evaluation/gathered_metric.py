"""A metric whose results survive any way of sharing a data set between processes."""
import logging
from typing import Any

import torch.distributed as torch_dist
from mmengine import dist
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log


class GatheredMetric(BaseMetric):
    """``BaseMetric`` that gathers every process's results whole and drops repeated images.

    MMEngine interleaves the processes' results and cuts the list at the size of the data set, which is right for one
    sampler only (a strided one that pads at the end). Here an image counts once, whoever saw it and however often.

    Results must have a hashable ``key``. ``compute_metrics`` runs on rank 0 with results sorted by key; its outcome,
    or its failure, reaches all ranks.

    Args:
        collect_device: ``'cpu'`` gathers through gloo (a group of its own beside NCCL), ``'gpu'`` through the default
            process group.
        prefix: first part of the metric names.
        collect_dir: folder shared by all processes; results then travel through files in it.
    """

    def __init__(self, collect_device: str = 'cpu', prefix: str | None = None, collect_dir: str | None = None) -> None:
        if collect_device not in ('cpu', 'gpu'):
            raise ValueError(f"collect_device={collect_device!r} is not one of 'cpu', 'gpu'.")
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self._gloo = None

    def evaluate(self, size: int) -> dict:
        """Gather, de-duplicate and score; the same dict on every rank.

        Args:
            size: length of the data set; only compared with the number of images seen.
        """
        parts = self._gather()
        outcome: list[Any] = [None]
        failure = None
        if dist.is_main_process():
            try:
                outcome = [(self._prefixed(self.compute_metrics(self._unique(parts, size))), None)]
            except Exception as error:
                # the other ranks wait in the broadcast below: tell them before leaving
                failure, outcome = error, [(None, f'{type(error).__name__}: {error}')]
        dist.broadcast_object_list(outcome)
        self.results.clear()
        if failure is not None:
            raise failure
        metrics, message = outcome[0]
        if message is not None:
            raise RuntimeError(f'evaluation failed on rank 0: {message}')
        return metrics

    def _gather(self) -> list[list] | None:
        """One list of results per process, on rank 0; None elsewhere."""
        world_size = dist.get_world_size()
        if world_size == 1:
            return [self.results]
        if self.collect_dir is not None:
            # one item per process, so that nothing is interleaved or cut
            return dist.collect_results([self.results], world_size, 'cpu', tmpdir=self.collect_dir)
        return dist.gather_object(self.results, dst=0, group=self._group())

    def _group(self) -> Any:
        if self.collect_device == 'gpu' or dist.get_backend() == 'gloo':
            return None
        if self._gloo is None:
            self._gloo = torch_dist.new_group(backend='gloo')
        return self._gloo

    def _unique(self, parts: list[list], size: int) -> list:
        unique = {result.key: result for part in parts for result in part}
        if len(unique) < size:
            print_log(f'{type(self).__name__}: {len(unique)} different images were evaluated, but the data set has '
                      f'{size} records.', logger='current', level=logging.WARNING)
        # ids may be of mixed types: sort numbers as numbers, everything else as text after them
        return sorted(unique.values(), key=lambda result: tuple(
            (0, part, '') if isinstance(part, int) else (1, 0, str(part)) for part in result.key))

    def _prefixed(self, metrics: dict) -> dict:
        return {f'{self.prefix}/{name}' if self.prefix else name: value for name, value in metrics.items()}
