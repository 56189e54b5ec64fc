"""Batches of images of like shape, so that little is padded."""
from collections.abc import Iterator
from itertools import islice

import numpy as np
from torch.utils.data import BatchSampler, Sampler

from maskforge.registry import DATA_SAMPLERS
from maskforge.structures import SampleKey

from ..image_sizes import image_sizes


@DATA_SAMPLERS.register_module()
class AspectRatioBatchSampler(BatchSampler):
    """Collects upright (width < height) and other images apart, and yields a batch when one kind is complete.

    At the end of a finite stream the rest is yielded mixed, so the number of batches depends only on the number of
    samples, never on their shapes: all ranks take equally many steps.

    Args:
        sampler: yields :class:`SampleKey` or indices; its ``dataset`` must know the image sizes (``image_sizes()``, or
            ``get_data_info(index)`` with ``height`` and ``width``).
        batch_size: samples a batch.
        drop_last: leave out the last batch if it is not full.

    Attributes:
        start_batch: number of batches that the next iteration skips (resume); 0 again once it has begun.
    """

    def __init__(self, sampler: Sampler, batch_size: int, drop_last: bool = False) -> None:
        if not isinstance(batch_size, int) or batch_size <= 0:
            raise ValueError(f'batch_size={batch_size!r}: a positive integer is needed.')
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.start_batch = 0
        self._upright: np.ndarray | None = None

    def __len__(self) -> int:
        full, rest = divmod(len(self.sampler), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        # a generator, so that 'start_batch' is used up by the first draw: torch's loader asks for two iterators
        start, self.start_batch = self.start_batch, 0
        yield from islice(self._batches(iter(self.sampler)), start, None)

    def _batches(self, keys: Iterator[SampleKey]) -> Iterator[list[SampleKey]]:
        upright = self._find_upright()
        groups: tuple[list, list] = ([], [])
        for key in keys:
            group = groups[int(upright[key.index if isinstance(key, SampleKey) else key])]
            group.append(key)
            if len(group) == self.batch_size:
                yield group.copy()
                group.clear()
        rest = groups[0] + groups[1]
        for first in range(0, len(rest), self.batch_size):
            batch = rest[first:first + self.batch_size]
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def _find_upright(self) -> np.ndarray:
        if self._upright is None:
            sizes = image_sizes(self.sampler.dataset)
            self._upright = sizes[:, 1] < sizes[:, 0]
        return self._upright
