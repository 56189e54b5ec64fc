from collections import Counter
from itertools import chain

import numpy as np
import pytest

from maskforge.datasets import ConcatDataset, SyntheticShapesDataset
from maskforge.datasets.record_origins import record_origins
from maskforge.datasets.samplers import DefaultSampler, NonUniformSampler, UniformSampler, WholeBatchSampler
from maskforge.registry import DATA_SAMPLERS


class _Sources:
    """Records of several files; ``counts`` lists the records of each file, source by source."""

    def __init__(self, *counts):
        files = list(chain(*counts))
        source = [number for number, some in enumerate(counts) for _ in some]
        self.origins = np.repeat(np.array([source, range(len(files))], np.int32).T, files, axis=0)

    def __len__(self):
        return len(self.origins)

    def record_origins(self):
        return self.origins


@pytest.fixture
def world(monkeypatch):
    """``world(size, build)``: one sampler per rank."""
    def _world(size, build):
        samplers = []
        for rank in range(size):
            monkeypatch.setattr('maskforge.datasets.samplers.default_sampler.get_dist_info',
                                lambda rank=rank: (rank, size))
            samplers.append(build())
        return samplers
    return _world


def _epoch(samplers, epoch=0):
    for sampler in samplers:
        sampler.set_epoch(epoch)
    return [[key.index for key in sampler] for sampler in samplers]


NAMES = ['default_sampler', 'uniform_sampler', 'non_uniform_sampler']
LAYOUTS = [[[3], [40]], [[5, 5, 5], [1]], [[7]], [[2] * 32], [[4], [4], [9]]]


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('counts', LAYOUTS)
@pytest.mark.parametrize('ranks', [1, 2, 5])
def test_every_sampler_keeps_the_contract(name, counts, ranks, world):
    data = _Sources(*counts)
    samplers = world(ranks, lambda: DATA_SAMPLERS.build(dict(type=name, dataset=data, seed=3)))
    shares = _epoch(samplers)
    assert {len(share) for share in shares} == {-(-len(data) // ranks)} == {len(sampler) for sampler in samplers}
    assert _epoch(samplers, 1) != shares or len(data) < 10
    assert _epoch(samplers) == shares
    for sampler in samplers:
        whole = list(sampler)
        sampler.start = 2
        assert list(sampler) == whole[2:] and sampler.start == 0 and list(sampler) == whole
    seeds = [key.seed for sampler in samplers for key in sampler]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(('ranks', 'counts'), [(1, [[3], [40]]), (2, [[5, 5, 5], [1]]), (3, [[4], [4], [13]])])
def test_uniform_draws_the_sources_equally_often(ranks, counts, world):
    data = _Sources(*counts)
    shares = _epoch(world(ranks, lambda: UniformSampler(data, seed=1)))
    order = [index for group in zip(*shares) for index in group][:len(data)]
    drawn = Counter(data.origins[order, 0].tolist())
    assert max(drawn.values()) - min(drawn.values()) <= 1 and len(drawn) == len(counts)


def test_uniform_repeats_no_record_before_all_have_come_up():
    data, sampler = _Sources([3], [40]), UniformSampler(_Sources([3], [40]), seed=1)
    large = [index for epoch in range(4) for index in _epoch([sampler], epoch)[0] if data.origins[index, 0] == 1]
    assert len(large) > 80 and max(Counter(large).values()) <= 4
    assert len(set(large[:38])) >= 37


@pytest.mark.parametrize(('ranks', 'counts'), [(2, [[5, 5, 5], [1]]), (2, [[2] * 32]), (3, [[4], [4], [9]])])
def test_non_uniform_gives_each_rank_its_own_files(ranks, counts, world):
    data = _Sources(*counts)
    for rank, share in enumerate(_epoch(world(ranks, lambda: NonUniformSampler(data, seed=1)))):
        files = set(data.origins[share, 1].tolist())
        assert {number % ranks for number in files} == {rank}


def test_non_uniform_goes_through_everything_in_the_long_run(world):
    data = _Sources([30], [2])
    samplers = world(2, lambda: NonUniformSampler(data, seed=1))
    first, second = (_epoch(samplers, epoch)[0] for epoch in (0, 1))
    assert len(set(first)) == 16 and len(set(first) | set(second)) == 30
    assert Counter(_epoch(samplers)[1]) == {30: 8, 31: 8}


def test_ranks_share_a_file_where_there_are_too_few(world):
    shares = _epoch(world(5, lambda: NonUniformSampler(_Sources([10], [10]), seed=1)))
    assert all(set(share) <= set(range(10)) for share in shares[::2])
    assert sorted(Counter(chain(*shares[::2])).values()) == [1] * 8 + [2] * 2  # twelve draws from ten records
    assert sorted(chain(*shares[1::2])) == sorted(set(chain(*shares[1::2])))


def test_in_order():
    data = _Sources([2], [3])
    assert _epoch([UniformSampler(data, shuffle=False, seed=0)]) == [[0, 2, 1, 3, 0]]
    assert _epoch([NonUniformSampler(data, shuffle=False, seed=0)]) == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('count', [4, 25])
def test_number_of_samples_an_epoch(name, count, world):
    data = _Sources([4], [6])
    samplers = world(2, lambda: DATA_SAMPLERS.build(dict(type=name, dataset=data, seed=1, num_samples=count)))
    epochs = [_epoch(samplers, epoch) for epoch in range(5)]
    assert all(len(share) == -(-count // 2) for shares in epochs for share in shares)
    if name == 'default_sampler' and count == 4:
        seen = Counter(chain(*(share for shares in epochs for share in shares)))
        assert set(seen.values()) == {2}  # 20 samples of 10 records


@pytest.mark.parametrize(('build', 'message'), [
    (lambda: DefaultSampler(range(3), seed=0, num_samples=0), 'num_samples=0'),
    (lambda: UniformSampler([], seed=0), 'the data set is empty'),
    (lambda: NonUniformSampler(_Sources([]), seed=0), 'the data set is empty'),
    (lambda: WholeBatchSampler(DefaultSampler(range(3), seed=0, num_samples=2), 1), 'needs every sample once')])
def test_errors(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_origins_of_wrappers_and_plain_data():
    plain = [SyntheticShapesDataset(num_images=count, size=32) for count in (2, 3)]
    both = ConcatDataset(plain)
    assert record_origins(both).tolist() == [[0, 0]] * 2 + [[1, 1]] * 3
    nested = ConcatDataset([both, SyntheticShapesDataset(num_images=1, size=32)])
    assert record_origins(nested)[:, 0].tolist() == [0, 0, 1, 1, 1, 2]
    assert record_origins(range(2)).tolist() == [[0, 0]] * 2
    assert DATA_SAMPLERS.get('UniformSampler') is DATA_SAMPLERS.get('uniform_sampler') is UniformSampler
