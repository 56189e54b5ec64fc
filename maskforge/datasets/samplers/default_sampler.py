"""One pass over the data an epoch."""
import math
from collections.abc import Iterator, Sized

import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from maskforge.registry import DATA_SAMPLERS
from maskforge.structures import SampleKey

from .endless_order import endless_order
from .sample_seeds import sample_seeds


@DATA_SAMPLERS.register_module(name=['DefaultSampler', 'default_sampler'])
class DefaultSampler(Sampler):
    """Yields :class:`SampleKey`; the global order depends on seed and epoch alone, ranks take every n-th position.

    Args:
        dataset: anything with a length.
        shuffle: a new permutation every epoch (that of MMEngine's sampler for the same seed), else the file's order.
        seed: the run's seed; None draws one that all ranks share.
        round_up: repeat samples from the start until all ranks have equally many. False gives each sample to exactly
            one rank, as evaluation needs it.
        num_samples: samples of an epoch over all ranks, the size of the data set by default. Epochs of another length
            take up where the one before has stopped, so every record comes up as often as any other in the long run.

    Raises:
        ValueError: ``num_samples`` is not positive.

    Attributes:
        start: number of this rank's samples that the next iteration skips (resume); 0 again once it has begun.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None, round_up: bool = True,
                 *, num_samples: int | None = None) -> None:
        if num_samples is not None and num_samples < 1:
            raise ValueError(f'num_samples={num_samples} of the sampler: a positive number of samples is needed.')
        self.dataset = dataset
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.round_up = round_up
        self.num_samples = num_samples
        self.rank, self.world_size = get_dist_info()
        self.epoch = 0
        self.start = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order and seeds the next iteration uses."""
        self.epoch = epoch

    @property
    def epoch_size(self) -> int:
        """Samples of an epoch over all ranks, before it is rounded up."""
        return self.num_samples or len(self.dataset)

    def positions(self) -> np.ndarray:
        """This rank's positions in the global order, int64; a position past its end wraps around."""
        size = self.epoch_size
        total = math.ceil(size / self.world_size) * self.world_size if self.round_up else size
        return np.arange(self.rank, total, self.world_size)

    def keys(self, positions: np.ndarray) -> list[SampleKey]:
        """The samples at positions of the current epoch's global order."""
        order, seeds = self.order(), sample_seeds(self.seed, self.epoch, positions)
        return [SampleKey(*pair) for pair in zip(order[positions % len(order)].tolist(), seeds.tolist())]

    def order(self) -> np.ndarray:
        """Indices of the current epoch in the global order, int64; all ranks agree on it."""
        size, count = len(self.dataset), self.num_samples
        if count is None or size == 0:
            return epoch_order(size, seed=self.seed, epoch=self.epoch, shuffle=self.shuffle)
        return endless_order(np.arange(size), self.epoch * count, count, seed=(self.seed,), shuffle=self.shuffle)

    def __len__(self) -> int:
        """Samples of this rank in one epoch (also when some will be skipped)."""
        return len(self.positions())

    def __iter__(self) -> Iterator[SampleKey]:
        # a generator, so that 'start' is used up by the first draw: torch's loader asks for two iterators
        start, self.start = self.start, 0
        yield from self.keys(self.positions()[start:])


def epoch_order(size: int, *, seed: int, epoch: int, shuffle: bool) -> np.ndarray:
    """Indices 0..size-1 in the order of one epoch, int64.

    Raises:
        ValueError: there is nothing to order.
    """
    if size == 0:
        raise ValueError('the data set is empty; nothing can be sampled.')
    if not shuffle:
        return np.arange(size)
    generator = torch.Generator()
    generator.manual_seed(seed + epoch)
    return torch.randperm(size, generator=generator).numpy()
