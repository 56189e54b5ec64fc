"""Samplers that know which source or file a record comes from, under TAO's names."""
from collections.abc import Sized

import numpy as np

from maskforge.registry import DATA_SAMPLERS

from ..record_origins import record_origins
from .default_sampler import DefaultSampler
from .endless_order import endless_order


class _OriginSampler(DefaultSampler):
    """Base of both: the settings, and ``members``, the records of each group."""

    _COLUMN: int

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None, *,
                 num_samples: int | None = None) -> None:
        super().__init__(dataset, shuffle=shuffle, seed=seed, round_up=True, num_samples=num_samples)
        if not len(dataset):
            raise ValueError('the data set is empty; nothing can be sampled.')
        origins = record_origins(dataset)[:, self._COLUMN]
        self.members = [np.flatnonzero(origins == number) for number in np.unique(origins)]


@DATA_SAMPLERS.register_module(name=['UniformSampler', 'uniform_sampler'])
class UniformSampler(_OriginSampler):
    """Every source as often as any other, however small it is.

    The sources take turns in random order; each goes through its records in random order, without repeating one
    before the others have come up. (TAO weights a record by the share of the other sources, which is the same for two
    sources, nearly so for more, and nothing at all for one.)

    Args:
        dataset: one of several sources (``record_origins()``: ``CocoSourcesDataset``, ``ConcatDataset`` ...); any
            other one is a single source.
        shuffle: False goes through sources and records in their own order.
        seed: the run's seed; None draws one that all ranks share.
        num_samples: samples of an epoch over all ranks, the size of the data set by default.

    Raises:
        ValueError: the data set is empty, or ``num_samples`` is not positive.
    """

    _COLUMN = 0

    def order(self) -> np.ndarray:
        """Indices of the current epoch in the global order, int64."""
        sources = np.arange(len(self.members))
        rounds = -(-self.epoch_size // len(sources))
        turns = endless_order(sources, self.epoch * rounds * len(sources), self.epoch_size, seed=(self.seed,),
                              shuffle=self.shuffle)
        order = np.empty(self.epoch_size, np.int64)
        for number, members in enumerate(self.members):
            places = np.flatnonzero(turns == number)
            order[places] = endless_order(members, self.epoch * rounds, len(places), seed=(self.seed, number),
                                          shuffle=self.shuffle)
        return order


@DATA_SAMPLERS.register_module(name=['NonUniformSampler', 'non_uniform_sampler'])
class NonUniformSampler(_OriginSampler):
    """Each rank draws from annotation files of its own, so that it touches only its part of the images.

    The files, in their sorted order, are dealt to the ranks in turn. All ranks take equally many samples an epoch;
    one whose files hold fewer records repeats some, one whose files hold more goes on with the others in the next
    epoch. Where there are fewer files than ranks, ranks share one and divide its records between them.

    Args:
        dataset: one that knows its files (``record_origins()``); any other one counts as a single file.
        shuffle: False goes through the records of a rank in their own order.
        seed: the run's seed; None draws one that all ranks share.
        num_samples: samples of an epoch over all ranks, the size of the data set by default.

    Raises:
        ValueError: the data set is empty, or ``num_samples`` is not positive.
    """

    _COLUMN = 1

    def order(self) -> np.ndarray:
        """Indices of the current epoch in the global order, int64; every ``world_size``-th is one rank's."""
        each = -(-self.epoch_size // self.world_size)
        order = np.empty(each * self.world_size, np.int64)
        for rank in range(self.world_size):
            order[rank::self.world_size] = self._share(rank, each)
        return order

    def _share(self, rank: int, count: int) -> np.ndarray:
        files, world = len(self.members), self.world_size
        group = rank % files  # ranks of one group draw from the same files
        members = np.concatenate(self.members[group::world])
        partners = len(range(group, world, files))
        stream = endless_order(members, self.epoch * count * partners, count * partners, seed=(self.seed, group),
                               shuffle=self.shuffle)
        return stream[rank // files::partners]
