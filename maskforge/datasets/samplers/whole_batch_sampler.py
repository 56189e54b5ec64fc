"""Evaluation batches that do not depend on the number of processes."""
from collections.abc import Iterator

import numpy as np
from torch.utils.data import BatchSampler

from maskforge.registry import DATA_SAMPLERS
from maskforge.structures import SampleKey

from .default_sampler import DefaultSampler


@DATA_SAMPLERS.register_module()
class WholeBatchSampler(BatchSampler):
    """Cuts the global order into batches and deals whole batches to the ranks in turn.

    The same images meet in one batch (and are padded alike) with any number of processes, so gathered results equal
    those of one process exactly. Every sample is yielded once; ranks may have one batch more than others.

    Args:
        sampler: a :class:`DefaultSampler`; its ``round_up`` and ``start`` have no say here.
        batch_size: samples a batch.
        drop_last: must be False; evaluation needs every sample.
    """

    def __init__(self, sampler: DefaultSampler, batch_size: int, drop_last: bool = False) -> None:
        if drop_last:
            raise ValueError('WholeBatchSampler is for evaluation, which needs every sample: drop_last must be False.')
        if not isinstance(batch_size, int) or batch_size <= 0:
            raise ValueError(f'batch_size={batch_size!r}: a positive integer is needed.')
        if getattr(sampler, 'num_samples', None):
            raise ValueError(f'num_samples={sampler.num_samples} of the sampler: evaluation needs every sample once.')
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = False
        self.start_batch = 0

    def __len__(self) -> int:
        return len(self._firsts())

    def __iter__(self) -> Iterator[list[SampleKey]]:
        # a generator, so that 'start_batch' is used up by the first draw: torch's loader asks for two iterators
        start, self.start_batch = self.start_batch, 0
        size = len(self.sampler.dataset)
        keys = self.sampler.keys(np.arange(size))
        for first in self._firsts()[start:]:
            yield keys[first:min(first + self.batch_size, size)]

    def _firsts(self) -> range:
        """Global positions at which this rank's batches begin."""
        step = self.batch_size * self.sampler.world_size
        return range(self.sampler.rank * self.batch_size, len(self.sampler.dataset), step)
