from itertools import chain, islice

import numpy as np
import pytest
from torch.utils.data import DataLoader

from maskforge.datasets.samplers import (
    AspectRatioBatchSampler,
    ClassAwareSampler,
    DefaultSampler,
    InfiniteSampler,
    WholeBatchSampler,
    sample_seeds,
)
from maskforge.registry import DATA_SAMPLERS
from maskforge.structures import SampleKey


class _Data:
    """A data set of sizes."""

    def __init__(self, sizes):
        self.sizes = sizes

    def __len__(self):
        return len(self.sizes)

    def get_data_info(self, index):
        height, width = self.sizes[index]
        return dict(height=height, width=width)


@pytest.fixture
def world(monkeypatch):
    """Build one sampler per rank of a world of a given size."""
    def _world(size, build):
        samplers = []
        for rank in range(size):
            for name in ('default_sampler', 'infinite_sampler'):
                monkeypatch.setattr(f'maskforge.datasets.samplers.{name}.get_dist_info', lambda rank=rank: (rank, size))
            samplers.append(build())
        return samplers
    return _world


def _interleave(shares):
    """Global order from strided shares."""
    return [key for group in zip(*shares) for key in group]


def test_seeds_are_stable_and_spread():
    assert sample_seeds(0, 0, np.arange(2)).tolist() == sample_seeds(0, 0, np.arange(2)).tolist()
    assert sample_seeds(1234, 5, np.array([6])).tolist() == [4498037910557917627]
    every = np.concatenate([sample_seeds(seed, epoch, np.arange(500)) for seed in range(5) for epoch in range(5)])
    assert len(np.unique(every)) == len(every) and every.min() >= 0
    bits = (every[:, None] >> np.arange(63)) & 1
    assert abs(bits.mean(0) - 0.5).max() < 0.03
    assert sample_seeds(-1, 0, np.arange(1))[0] >= 0 and sample_seeds(2**63, 0, np.arange(1))[0] >= 0


@pytest.mark.parametrize('shuffle', [True, False])
@pytest.mark.parametrize('ranks', [1, 2, 3, 4, 20])
def test_ranks_share_one_order(ranks, shuffle, world):
    single = list(DefaultSampler(range(13), shuffle=shuffle, seed=7))
    assert sorted(key.index for key in single) == list(range(13))
    shares = [list(s) for s in world(ranks, lambda: DefaultSampler(range(13), shuffle, seed=7, round_up=False))]
    assert sorted(chain(*shares)) == sorted(single)  # without duplicates, and with the same seeds
    padded = world(ranks, lambda: DefaultSampler(range(13), shuffle, seed=7))
    assert len({len(s) for s in padded}) == 1 and len(padded[0]) == -(-13 // ranks)
    order = _interleave([list(s) for s in padded])
    assert order[:13] == single and [k.index for k in order[13:]] == [k.index for k in (single * 2)[:len(order) - 13]]
    assert len(set(order)) == len(order)  # repeated samples have seeds of their own


def test_epochs_differ():
    sampler = DefaultSampler(range(50), seed=7)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    second = list(sampler)
    assert second != first and not {k.seed for k in first} & {k.seed for k in second}


def test_the_order_is_that_of_mmengine():
    from mmengine.dataset import DefaultSampler as Theirs
    ours, theirs = DefaultSampler(range(30), seed=3), Theirs(range(30), seed=3)
    ours.set_epoch(4)
    theirs.set_epoch(4)
    assert [key.index for key in ours] == list(theirs)


@pytest.mark.parametrize('ranks', [1, 3])
@pytest.mark.parametrize('start', [0, 1, 4, 100])
def test_skipping_gives_the_tail(start, ranks, world):
    for sampler in world(ranks, lambda: DefaultSampler(range(14), seed=2)):
        whole = list(sampler)
        sampler.start = start
        assert list(sampler) == whole[start:] and sampler.start == 0 and list(sampler) == whole
        assert len(sampler) == len(whole)


@pytest.mark.parametrize('ranks', [1, 2, 5, 9])
@pytest.mark.parametrize('start', [0, 3, 30])
def test_endless_stream(start, ranks, world):
    single = list(islice(InfiniteSampler(range(7), seed=1), 50 * ranks))
    assert sorted(k.index for k in single[7:14]) == list(range(7)) and single[:7] != single[7:14]
    samplers = world(ranks, lambda: InfiniteSampler(range(7), seed=1))
    assert _interleave([list(islice(s, 50)) for s in samplers]) == single
    for sampler in samplers:
        whole = list(islice(sampler, 50))
        sampler.start = start
        assert list(islice(sampler, 50 - start)) == whole[start:] and sampler.start == 0


def test_registered():
    sampler = DATA_SAMPLERS.build(dict(type='InfiniteSampler', dataset=range(3), shuffle=False, seed=0))
    assert [k.index for k in islice(sampler, 5)] == [0, 1, 2, 0, 1] and len(sampler) == 3
    assert isinstance(next(iter(sampler)), SampleKey)
    with pytest.raises(ValueError, match='empty'):
        next(iter(DefaultSampler([], seed=0)))


SIZES = [(10, 20) if i % 3 else (20, 10) for i in range(23)]


@pytest.mark.parametrize('drop_last', [True, False])
@pytest.mark.parametrize('batch_size', [1, 2, 4, 30])
def test_aspect_ratio_batches(batch_size, drop_last):
    data = _Data(SIZES)
    batches = AspectRatioBatchSampler(DefaultSampler(data, seed=5), batch_size, drop_last)
    found = list(batches)
    assert len(found) == len(batches)
    indices = [key.index for batch in found for key in batch]
    assert len(set(indices)) == len(indices) == (23 // batch_size * batch_size if drop_last else 23)
    mixed = [len({SIZES[key.index] for key in batch}) > 1 for batch in found]
    assert sum(mixed) <= 2 and not any(mixed[:-2])
    for start in range(len(found) + 1):
        batches.start_batch = start
        assert list(batches) == found[start:] and batches.start_batch == 0


def test_aspect_ratio_batches_of_an_endless_stream():
    batches = AspectRatioBatchSampler(InfiniteSampler(_Data(SIZES), seed=5), 4)
    whole = list(islice(batches, 20))
    batches.start_batch = 11
    assert list(islice(batches, 9)) == whole[11:]
    assert all(len({SIZES[key.index] for key in batch}) == 1 for batch in whole)


@pytest.mark.parametrize('sizes', [[(1, 2)] * 12, [(1, 2)] * 5 + [(2, 1)] * 7, [(2, 1), (1, 2)] * 6])
def test_the_number_of_batches_does_not_depend_on_shapes(sizes):
    for drop_last in (True, False):
        batches = AspectRatioBatchSampler(DefaultSampler(_Data(sizes), seed=0), 5, drop_last)
        assert len(list(batches)) == len(batches) == (2 if drop_last else 3)


def test_sizes_are_needed():
    class Silent(_Data):
        def get_data_info(self, index):
            return {}

    with pytest.raises(ValueError, match='Silent does not tell the sizes'):
        list(AspectRatioBatchSampler(DefaultSampler(Silent(SIZES), seed=0), 2))
    with pytest.raises(ValueError, match='batch_size=0'):
        AspectRatioBatchSampler(DefaultSampler(_Data(SIZES), seed=0), 0)


@pytest.mark.parametrize('ranks', [1, 2, 3, 8])
def test_evaluation_batches_do_not_depend_on_the_world(ranks, world):
    def build():
        return WholeBatchSampler(DefaultSampler(range(11), shuffle=False, seed=0, round_up=False), 3)
    single = list(build())
    assert [[k.index for k in batch] for batch in single] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10]]
    samplers = world(ranks, build)
    shares = [list(sampler) for sampler in samplers]
    assert sorted(chain(*shares)) == sorted(single) and [len(s) for s in samplers] == [len(s) for s in shares]
    samplers[0].start_batch = 1
    assert list(samplers[0]) == shares[0][1:]


@pytest.mark.parametrize('settings', [dict(batch_size=0), dict(batch_size=2, drop_last=True)])
def test_evaluation_batches_refuse(settings):
    with pytest.raises(ValueError, match=r'batch_size=0|drop_last'):
        WholeBatchSampler(DefaultSampler(range(3), seed=0), **settings)


class _Labels(list):
    """Labels of each image."""

    def get_cat_ids(self, index):
        return self[index]


LABELS = _Labels([[0]] * 16 + [[0, 1]] * 2 + [[2]] + [[]])


@pytest.mark.parametrize('ranks', [1, 3])
def test_classes_take_turns(ranks, world):
    single = list(ClassAwareSampler(LABELS, seed=3, num_sample_class=2))
    samplers = world(ranks, lambda: ClassAwareSampler(LABELS, seed=3, num_sample_class=2))
    order = _interleave([list(sampler) for sampler in samplers])
    assert order[:20] == single
    indices = [key.index for key in order[:18]]  # three rounds of three classes, two images each
    assert indices.count(18) == 6 and 19 not in indices
    assert all(len({tuple(LABELS[i]) for i in indices[k:k + 6]}) >= 2 for k in (0, 6, 12))
    samplers[0].set_epoch(1)
    assert list(samplers[0]) != order[::ranks][:len(samplers[0])]
    samplers[0].start = 2
    assert len(list(samplers[0])) == len(samplers[0]) - 2


@pytest.mark.parametrize(('labels', 'settings', 'message'), [
    ([[], []], {}, 'no image'), (LABELS, dict(num_sample_class=0), 'num_sample_class=0')])
def test_class_aware_errors(labels, settings, message):
    with pytest.raises(ValueError, match=message):
        ClassAwareSampler(_Labels(labels), seed=0, **settings)


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('build', [
    lambda data: dict(sampler=DefaultSampler(data, seed=5), batch_size=4),
    lambda data: dict(batch_sampler=AspectRatioBatchSampler(DefaultSampler(data, seed=5), 4)),
    lambda data: dict(batch_sampler=WholeBatchSampler(DefaultSampler(data, shuffle=False, seed=5), 4))])
def test_skipping_through_torchs_loader(build, workers):
    class Keys(_Data):
        def __getitem__(self, key):
            return key

    def run(start):
        settings = build(data)
        if start and 'sampler' in settings:
            settings['sampler'].start = start * 4
        elif start:
            settings['batch_sampler'].start_batch = start
        return list(DataLoader(data, num_workers=workers, collate_fn=list, **settings))

    data = Keys(SIZES)
    assert run(2) == run(0)[2:]
