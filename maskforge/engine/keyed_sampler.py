"""Samplers and batch samplers of users and of MMEngine, made skippable and seeded like our own."""
import itertools
from collections.abc import Iterator
from typing import Any

from mmengine.dist import get_dist_info

from maskforge.structures import SampleKey

_MIX = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)


def sample_seed(seed: int, epoch: int, position: int) -> int:
    """Seed in [0, 2**63) of the sample at ``position`` of ``epoch``; seeds of neighbours are unrelated."""
    value = (seed * _MIX[0] + epoch * _MIX[1] + position * _MIX[2]) % 2**64
    # finaliser of splitmix64 (Steele et al., 2014)
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % 2**64
    return (value ^ (value >> 31)) >> 1


class KeyedSampler:
    """Gives a plain sampler (of indices) what exact resume needs: seeds and ``start``.

    Attributes:
        start: number of this rank's samples to skip in the next iteration; 0 again once that has begun.
    """

    def __init__(self, sampler: Any, *, seed: int) -> None:
        self.sampler, self.seed = sampler, seed
        self.epoch = 0
        self.start = 0

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[SampleKey]:
        start, self.start = self.start, 0
        rank, world_size = get_dist_info()
        for place, index in enumerate(itertools.islice(iter(self.sampler), start, None), start):
            if isinstance(index, SampleKey):
                yield index
            else:
                yield SampleKey(int(index), sample_seed(self.seed, self.epoch, place * world_size + rank))

    def set_epoch(self, epoch: int) -> None:
        """Start the stream of ``epoch`` with the next iteration."""
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name == 'sampler':
            raise AttributeError(name)
        return getattr(self.sampler, name)


class SkippingBatchSampler:
    """Gives a user's batch sampler ``start_batch``: batches of indices to skip in the next iteration."""

    def __init__(self, batch_sampler: Any) -> None:
        self.batch_sampler = batch_sampler
        self.start_batch = 0

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[list]:
        start, self.start_batch = self.start_batch, 0
        yield from itertools.islice(iter(self.batch_sampler), start, None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name == 'batch_sampler':
            raise AttributeError(name)
        return getattr(self.batch_sampler, name)
