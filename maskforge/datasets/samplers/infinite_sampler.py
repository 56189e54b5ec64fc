"""An endless stream for training counted in iterations."""
from collections.abc import Iterator, Sized

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from maskforge.registry import DATA_SAMPLERS
from maskforge.structures import SampleKey

from .default_sampler import epoch_order
from .sample_seeds import sample_seeds


@DATA_SAMPLERS.register_module()
class InfiniteSampler(Sampler):
    """Yields :class:`SampleKey` without end: one permutation of the data after another, dealt to the ranks in turn.

    Args:
        dataset: anything with a length.
        shuffle: permute every pass, else repeat the file's order.
        seed: the run's seed; None draws one that all ranks share.

    Attributes:
        start: number of this rank's samples that the next iteration skips (resume); 0 again once it has begun.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        self.dataset = dataset
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.rank, self.world_size = get_dist_info()
        self.start = 0

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: the stream has no epochs."""

    def __len__(self) -> int:
        """Size of the data set, as in MMEngine; the stream itself does not end."""
        return len(self.dataset)

    def __iter__(self) -> Iterator[SampleKey]:
        # a generator, so that 'start' is used up by the first draw: torch's loader asks for two iterators
        start, self.start = self.start, 0
        size = len(self.dataset)
        position = self.rank + start * self.world_size
        while True:
            one_pass, offset = divmod(position, size)
            order = epoch_order(size, seed=self.seed, epoch=one_pass, shuffle=self.shuffle)
            offsets = np.arange(offset, size, self.world_size)
            seeds = sample_seeds(self.seed, one_pass, offsets)
            for index, seed in zip(order[offsets].tolist(), seeds.tolist()):
                yield SampleKey(index, seed)
            position += len(offsets) * self.world_size
