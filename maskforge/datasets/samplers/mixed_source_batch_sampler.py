"""Batches that each come from one source: images or videos, never both."""
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import BatchSampler

from maskforge.registry import DATA_SAMPLERS
from maskforge.structures import SampleKey

from ..record_origins import record_origins
from .default_sampler import DefaultSampler
from .sample_seeds import sample_seeds


@DATA_SAMPLERS.register_module()
class MixedSourceBatchSampler(BatchSampler):
    """Each step draws a source, the same on all ranks, and takes the next batch of it.

    An epoch of the loop is one of ``phases_per_epoch`` phases of a pass over the data: after that many, every record
    of every source has come up once (``train_cfg.max_epochs`` counts phases). All phases have the same number of
    batches. For that, a source whose size is no multiple of phases x ranks repeats up to that many records a pass;
    with ``drop_last`` it leaves out the rest instead, and batches that would not be full.

    Args:
        sampler: a :class:`DefaultSampler` of a data set of several sources (``ConcatDataset``); its ``shuffle`` and
            seed count here, and its epoch.
        batch_sizes: samples a batch on one rank, one number a source; None for ``batch_size`` throughout.
        probabilities: of the sources, at each step, as long as none is used up; what is used up is not drawn any
            more. None: by their number of batches. They are divided by their sum, which must be about 1.
        phases_per_epoch: parts of one pass over the data.
        drop_last: see above.
        batch_size: the same for all sources.

    Raises:
        ValueError: numbers out of range, as many as there are no sources, or a source without a batch.

    Attributes:
        start_batch: number of batches that the next iteration skips (resume); 0 again once it has begun.
        batch_size: the largest of a source.
    """

    def __init__(self, sampler: DefaultSampler, batch_sizes: Sequence[int] | None = None, *,
                 probabilities: Sequence[float | int] | None = None, phases_per_epoch: int = 1,
                 drop_last: bool = False, batch_size: int | None = None) -> None:
        if not isinstance(sampler, DefaultSampler):
            raise ValueError(f"MixedSourceBatchSampler needs sampler=dict(type='DefaultSampler'), got "
                             f'{type(sampler).__name__}.')
        if sampler.num_samples:
            raise ValueError(f'num_samples={sampler.num_samples} of the sampler (or train_cfg.iters_per_epoch) has no '
                             'effect with MixedSourceBatchSampler; phases_per_epoch and the multiplier of a source '
                             'change the length of an epoch.')
        if not isinstance(phases_per_epoch, int) or phases_per_epoch < 1:
            raise ValueError(f'phases_per_epoch={phases_per_epoch!r}: a positive integer is needed.')
        self.sampler, self.phases_per_epoch, self.drop_last = sampler, phases_per_epoch, drop_last
        origins = record_origins(sampler.dataset)[:, 0]
        self.members = [np.flatnonzero(origins == number) for number in np.unique(origins)]
        self.batch_sizes = _check_batch_sizes(batch_sizes, batch_size, len(self.members),
                                               self._sizes())
        self.batch_size = max(self.batch_sizes)
        self.start_batch = 0
        self._batch_counts = [self._count_batches(number) for number in range(len(self.members))]
        self.probabilities = self._check_probabilities(probabilities)

    def set_epoch(self, epoch: int) -> None:
        """Choose the phase that the next iteration goes through, counted over all epochs."""
        self.sampler.set_epoch(epoch)

    def __len__(self) -> int:
        """Batches of one phase on this rank (also when some will be skipped)."""
        return sum(self._batch_counts)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        # a generator, so that 'start_batch' is used up by the first draw: torch's loader asks for two iterators
        start, self.start_batch = self.start_batch, 0
        rank, world = self.sampler.rank, self.sampler.world_size
        records = [self._records(number) for number in range(len(self.members))]
        # seeds are those of the places in the phase, in which the sources lie one after the other
        firsts = np.cumsum([0, *map(len, records)])
        taken = [0] * len(records)
        for step, source in enumerate(self.source_order().tolist()):
            size, number = self.batch_sizes[source], taken[source]
            taken[source] += 1
            if step < start:
                continue
            places = np.arange(rank, len(records[source]), world)[number * size:(number + 1) * size]
            seeds = sample_seeds(self.sampler.seed, self.sampler.epoch, places + firsts[source])
            yield [SampleKey(*pair) for pair in zip(records[source][places].tolist(), seeds.tolist())]

    @property
    def source_shares(self) -> list[float]:
        """Part of the steps of a phase that each source has; they add up to 1."""
        return [count / len(self) for count in self._batch_counts]

    def source_order(self) -> np.ndarray:
        """(len,) int64 source of each step of the present phase."""
        rng = np.random.default_rng((self.sampler.seed % 2**63, self.sampler.epoch))
        left = np.array(self._batch_counts)
        weights = np.where(left > 0, self.probabilities, 0)
        order = np.empty(len(self), np.int64)
        for step, draw in enumerate(rng.random(len(order)).tolist()):
            bounds = weights.cumsum()
            source = order[step] = int(np.searchsorted(bounds, draw * bounds[-1], side='right'))
            left[source] -= 1
            if left[source] == 0:
                weights[source] = 0
        return order

    def _records(self, source: int) -> np.ndarray:
        """The records of a source in the present phase, over all ranks."""
        main_epoch, phase = divmod(self.sampler.epoch, self.phases_per_epoch)
        members = self.members[source]
        if self.sampler.shuffle:
            rng = np.random.default_rng((self.sampler.seed % 2**63, main_epoch, source))
            members = rng.permutation(members)
        size, count = len(members), self._phase_size(source)
        first = phase * count if self.drop_last else phase * size // self.phases_per_epoch
        return members[np.arange(first, first + count) % size]

    def _phase_size(self, source: int) -> int:
        """Records of a source in one phase, over all ranks: a multiple of the number of ranks."""
        size, world = len(self.members[source]), self.sampler.world_size
        if self.drop_last:
            return size // self.phases_per_epoch // world * world
        return -(-size // self.phases_per_epoch // world) * world

    def _count_batches(self, source: int) -> int:
        each, size = self._phase_size(source) // self.sampler.world_size, self.batch_sizes[source]
        batches = each // size if self.drop_last else -(-each // size)
        if batches == 0:
            raise ValueError(f'source {source} of MixedSourceBatchSampler has {len(self.members[source])} records, '
                             f'which is no batch of {size} in each of {self.phases_per_epoch} phases on '
                             f'{self.sampler.world_size} ranks; set drop_last=False, or a smaller batch or fewer '
                             'phases.')
        return batches

    def _check_probabilities(self, given: Sequence[float] | None) -> np.ndarray:
        weights = np.array(self._batch_counts if given is None else given, float)
        if len(weights) != len(self.members) or not (weights > 0).all():
            raise ValueError(f'probabilities={given!r}: one positive number a source is needed, for {self._sizes()}.')
        if given is not None and abs(weights.sum() - 1) > 1e-3:
            raise ValueError(f'probabilities={given!r} add up to {weights.sum():.6g}, not to 1.')
        return weights / weights.sum()

    def _sizes(self) -> str:
        return f'{len(self.members)} sources of {", ".join(str(len(some)) for some in self.members)} records'


def _check_batch_sizes(batch_sizes: Sequence[int] | None, batch_size: int | None, count: int,
                       sources: str) -> list[int]:
    if batch_sizes is not None and batch_size is not None:
        raise ValueError(f'batch_size={batch_size} has no effect beside batch_sizes={batch_sizes!r}; leave it out.')
    sizes = [batch_size] * count if batch_sizes is None else list(batch_sizes)
    if len(sizes) != count or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(f'batch_sizes={sizes!r}: one positive integer a source is needed, for {sources}.')
    return sizes
