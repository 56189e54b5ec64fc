"""Mixed training: one source a step on all ranks, phases that cover everything once, resume."""
import subprocess
import sys
from collections import Counter
from itertools import chain

import numpy as np
import pytest

from maskforge.datasets.samplers import DefaultSampler, InfiniteSampler, MixedSourceBatchSampler
from maskforge.engine.data_loading import build_dataloader, reseed, set_epoch, skip_batches
from maskforge.registry import DATASETS

WORKER = """
import json, sys
import torch
from torch import distributed
rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2)
import numpy as np
from mmengine.registry import init_default_scope
init_default_scope('maskforge')
from maskforge.datasets import ConcatDataset
from maskforge.engine.data_loading import build_dataloader, set_epoch


class Numbers:
    def __init__(self, first, count): self.first, self.count = first, count
    def __len__(self): return self.count
    def __getitem__(self, index): return dict(inputs=torch.tensor(self.first + index), data_samples=self.first)


loader = build_dataloader(dict(dataset=ConcatDataset([Numbers(0, 24), Numbers(100, 16)]), num_workers=0,
                               sampler=dict(type='DefaultSampler'), batch_sampler=dict(
                               type='MixedSourceBatchSampler', batch_sizes=[3, 2], phases_per_epoch=2)), seed=5)
seen = []
for epoch in range(4):
    set_epoch(loader, epoch)
    for batch in loader:
        mine = torch.tensor([batch['data_samples'][0]])
        both = [torch.zeros_like(mine) for _ in range(2)]
        distributed.all_gather(both, mine)
        assert both[0] == both[1], (rank, both)
        seen.append([epoch, [int(value) for value in batch['inputs']]])
json.dump(seen, open(f'{folder}/{rank}.json', 'w'))
"""


class _Sources:
    """Records of sources of some sizes, one after another."""

    def __init__(self, *sizes):
        self.sizes = sizes

    def __len__(self):
        return sum(self.sizes)

    def record_origins(self):
        return np.stack([np.repeat(np.arange(len(self.sizes)), self.sizes), np.zeros(len(self), int)], 1)


@pytest.fixture
def build(monkeypatch):
    """Build the sampler of one rank of a world."""
    def _build(*sizes, rank=0, world=1, seed=7, shuffle=True, **settings):
        monkeypatch.setattr('maskforge.datasets.samplers.default_sampler.get_dist_info', lambda: (rank, world))
        return MixedSourceBatchSampler(DefaultSampler(_Sources(*sizes), shuffle=shuffle, seed=seed), **settings)
    return _build


def _indices(batches):
    return [[key.index for key in batch] for batch in batches]


@pytest.mark.parametrize(('world', 'phases', 'sizes'), [
    (1, 1, (24, 16)), (2, 1, (24, 16)), (2, 2, (24, 16)), (1, 4, (24, 16)), (2, 2, (24, 8, 4)), (4, 2, (32, 16))])
def test_phases_cover_each_record_once(build, world, phases, sizes):
    sizes_of_batches = [3, 2, 1][:len(sizes)]
    ranks = [build(*sizes, rank=rank, world=world, batch_sizes=sizes_of_batches, phases_per_epoch=phases)
             for rank in range(world)]
    for main_epoch in range(2):
        seen, seeds = Counter(), set()
        for phase in range(phases):
            batches = []
            for sampler in ranks:
                sampler.set_epoch(main_epoch * phases + phase)
                batches.append(list(sampler))
                assert len(batches[-1]) == len(sampler)
            for step in zip(*batches):
                source = {int(key.index >= sizes[0]) + int(key.index >= sum(sizes[:2])) for key in chain(*step)}
                assert len(source) == 1 and len({len(batch) for batch in step}) == 1  # all ranks alike
                assert len(step[0]) <= sizes_of_batches[source.pop()]
            seen.update(key.index for key in chain(*chain(*batches)))
            seeds.update(key.seed for key in chain(*chain(*batches)))
        assert seen == dict.fromkeys(range(sum(sizes)), 1) and len(seeds) == sum(sizes)


@pytest.mark.parametrize(('sizes', 'world', 'phases'), [((13, 7), 2, 1), ((13, 7), 1, 3), ((25, 11), 3, 2)])
def test_sizes_that_do_not_divide(build, sizes, world, phases):
    def seen(drop_last):
        counts, lengths = Counter(), set()
        for rank in range(world):
            sampler = build(*sizes, rank=rank, world=world, batch_sizes=[2, 1], phases_per_epoch=phases,
                            drop_last=drop_last)
            for phase in range(phases):
                sampler.set_epoch(phase)
                batches = list(sampler)
                lengths.add(len(batches))
                counts.update(key.index for key in chain(*batches))
                assert len(sampler) == len(batches)
                if drop_last:
                    assert {len(batch) for batch in batches} == {1, 2}
        assert len(lengths) == 1
        return counts
    repeated, left = seen(False), seen(True)
    assert set(repeated) == set(range(sum(sizes))) and max(repeated.values()) <= 2
    assert repeated.total() - sum(sizes) <= 2 * world * phases
    assert max(left.values()) == 1 and left.total() >= sum(sizes) - 2 * world * phases * 2


def test_orders_differ_between_epochs_and_seeds(build):
    sampler, other = build(24, 16, batch_sizes=[3, 2]), build(24, 16, seed=8, batch_sizes=[3, 2])
    first = list(sampler)
    assert first == list(sampler) != list(other)
    sampler.set_epoch(1)
    assert _indices(sampler) != _indices(first)
    plain = build(6, 4, shuffle=False, batch_sizes=[3, 2])
    assert [batch for batch in _indices(plain) if batch[0] < 6] == [[0, 1, 2], [3, 4, 5]]
    assert [batch for batch in _indices(plain) if batch[0] >= 6] == [[6, 7], [8, 9]]


@pytest.mark.parametrize('epoch', [0, 1, 5])
def test_resume_anywhere(build, epoch):
    sampler = build(25, 14, batch_sizes=[3, 2], phases_per_epoch=2)
    sampler.set_epoch(epoch)
    whole = list(sampler)
    for start in range(len(whole) + 1):
        again = build(25, 14, batch_sizes=[3, 2], phases_per_epoch=2)
        again.set_epoch(epoch)
        again.start_batch = start
        assert list(again) == whole[start:] and again.start_batch == 0
        assert list(again) == whole and len(again) == len(whole)


def test_probabilities(build):
    def first_source(**settings):
        draws = []
        for seed in range(300):
            draws.append(int(build(40, 20, seed=seed, batch_sizes=[2, 2], **settings).source_order()[0]))
        return np.mean(draws)
    assert abs(first_source() - 1 / 3) < 0.08  # by batches
    assert abs(first_source(probabilities=[.1, .9]) - 0.9) < 0.06
    order = build(40, 4, batch_sizes=[2, 2], probabilities=[.01, .99]).source_order()
    assert order[:2].tolist() == [1, 1] and set(order[2:].tolist()) == {0}  # a source that is used up
    assert np.bincount(order).tolist() == [20, 2]
    build(4, 4, 4, batch_sizes=[1] * 3, probabilities=[0.1, 0.2, 0.7000000001])  # rounding is no mistake


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(batch_sizes=[3]), r'batch_sizes=\[3\]: one positive integer a source is needed, for 2 sources of 24, 16'),
    (dict(batch_sizes=[3, 0]), r'batch_sizes=\[3, 0\]'), (dict(), r'batch_sizes=\[None, None\]'),
    (dict(batch_sizes=[1, 1], batch_size=2), 'batch_size=2 has no effect'),
    (dict(batch_size=2, probabilities=[1]), r'probabilities=\[1\]: one positive number a source'),
    (dict(batch_size=2, probabilities=[.5, 0]), 'one positive number a source'),
    (dict(batch_size=2, probabilities=[.5, .6]), 'add up to 1.1, not to 1'),
    (dict(batch_size=2, phases_per_epoch=0), 'phases_per_epoch=0'),
    (dict(batch_size=17, drop_last=True), 'source 1 .* has 16 records, which is no batch of 17 in each of 1 phases')])
def test_settings_out_of_range(build, settings, message):
    with pytest.raises(ValueError, match=message):
        build(24, 16, **settings)


def test_samplers_that_do_not_fit():
    with pytest.raises(ValueError, match=r'DefaultSampler.*got InfiniteSampler'):
        MixedSourceBatchSampler(InfiniteSampler(range(4), seed=1), batch_size=2)
    with pytest.raises(ValueError, match=r'num_samples=8 of the sampler .* has no effect'):
        MixedSourceBatchSampler(DefaultSampler(range(4), seed=1, num_samples=8), batch_size=2)


def test_a_loader_of_videos_and_pictures(tmp_path):
    from maskforge.datasets.synthetic import draw_shapes
    drawn = draw_shapes(tmp_path, num_train=4, num_val=2, size=32, clips=3, clip_length=4)
    def source(sampler, **raw):
        return dict(type='VOSDataset', video_dataset=raw, sampler=dict(type='RandomUniformSampler', **sampler),
                    pipeline=[dict(type='ClipResize', sizes=32, square=True), dict(type='PackClip')])
    videos = source(dict(num_frames=2, max_num_objects=2), type='PNGRawDataset', img_folder='JPEGImages',
                    gt_folder='Annotations', data_root=str(drawn.clips), unannotated_frames='drop')
    images = source(dict(num_frames=1, max_num_objects=8), type='CocoRawDataset', data_root=str(drawn.root),
                    ann_file='annotations/instances_train.json', data_prefix=dict(img='train/'))
    cfg = dict(dataset=dict(type='ConcatDataset', datasets=[videos, {**images, 'multiplier': 2}]), num_workers=0,
               sampler=dict(type='DefaultSampler'),
               batch_sampler=dict(type='MixedSourceBatchSampler', batch_sizes=[1, 2], drop_last=True))
    loader = build_dataloader(cfg, seed=3)
    count = len(DATASETS.build(images))
    assert len(loader) == 3 + 2 * count // 2
    kinds = Counter()
    for batch in loader:
        shapes = {tuple(clip.shape) for clip in batch['inputs']}
        assert len(shapes) == 1 and len(batch['inputs']) in (1, 2)
        kinds[shapes.pop()[0], len(batch['inputs'])] += 1
    assert kinds == {(2, 1): 3, (1, 2): count}
    whole = [[sample.gt_masks for sample in batch['data_samples']] for batch in loader]
    again = build_dataloader(cfg, seed=99)
    reseed(again, 3)
    set_epoch(again, 0)
    assert skip_batches(again, 2)
    rest = [[sample.gt_masks for sample in batch['data_samples']] for batch in again]
    assert len(rest) == len(whole) - 2
    for one, other in zip(chain(*rest), chain(*whole[2:])):
        assert one.equal(other)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == 'win32', reason='gloo over a file')
def test_two_processes(tmp_path):
    """Both ranks draw the same source at every step, and each pair of phases covers every record once."""
    import json
    script = tmp_path / 'worker.py'
    script.write_text(WORKER)
    runs = [subprocess.Popen([sys.executable, str(script), str(rank), str(tmp_path)]) for rank in range(2)]
    assert [run.wait(timeout=300) for run in runs] == [0, 0]
    seen = [json.loads((tmp_path / f'{rank}.json').read_text()) for rank in range(2)]
    for first in (0, 2):
        counts = Counter(chain(*(batch for shares in seen for epoch, batch in shares if epoch in (first, first + 1))))
        assert counts == dict.fromkeys([*range(24), *range(100, 116)], 1)
