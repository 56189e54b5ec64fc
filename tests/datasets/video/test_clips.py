"""Clips of videos: frame samplers, VOSDataset, whole videos."""
import os
import pickle
from collections import Counter

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from maskforge.datasets.video import (
    EvalSampler,
    JSONRawDataset,
    PNGRawDataset,
    RandomUniformSampler,
    SA1BRawDataset,
    VOSDataset,
    WholeVideoDataset,
)
from maskforge.datasets.video.clip_loading import load_clip
from maskforge.engine.seeded_dataset import SeededDataset
from maskforge.formats.palette_png import read_id_png, write_palette_png
from maskforge.registry import DATA_SAMPLERS, DATASETS
from maskforge.structures import SampleKey, seeded_sample

SAMPLER = dict(type='RandomUniformSampler', num_frames=3, max_num_objects=2)


def _source(root) -> dict:
    return dict(type='PNGRawDataset', img_folder='JPEGImages', gt_folder='Annotations', data_root=str(root))


def _dataset(root, *, sampler=SAMPLER, **changes) -> VOSDataset:
    given = dict(type='VOSDataset', video_dataset=_source(root), sampler=sampler, pipeline=[dict(type='PackClip')])
    return DATASETS.build({**given, **changes})


def _video(root, index=0, **changes):
    return PNGRawDataset('JPEGImages', 'Annotations', data_root=str(root), **changes).video(index)


def _drawn(sampler, video, seeds=200):
    clips = []
    for seed in range(seeds):
        with seeded_sample(seed):
            clips.append(sampler.sample(video))
    return clips


def test_windows_are_drawn_alike(davis):
    clips = _drawn(RandomUniformSampler(3, 2), _video(davis), seeds=400)
    starts = Counter(clip.frames[0].number for clip in clips)
    assert set(starts) == {0, 1, 2, 3} and min(starts.values()) > 70
    assert all([frame.number - clip.frames[0].number for frame in clip.frames] == [0, 1, 2] for clip in clips)
    assert {clip.object_ids for clip in clips} == {(1, 2)}


def test_objects_are_drawn(davis):
    counts = Counter(clip.object_ids for clip in _drawn(RandomUniformSampler(3, 1), _video(davis)))
    assert set(counts) == {(1,), (2,)} and min(counts.values()) > 70


@pytest.mark.parametrize(('prob', 'share'), [(0, 0), (1, 1), (0.3, 0.3)])
def test_reversal(davis, prob, share):
    clips = _drawn(RandomUniformSampler(3, 2, prob), _video(davis))
    backwards = [clip.frames[0].number > clip.frames[-1].number for clip in clips]
    assert abs(np.mean(backwards) - share) < 0.1


def test_only_objects_of_the_first_frame_count(tmp_path, write_video):
    write_video(tmp_path, 'a', objects=(1,), masked=())
    for frame in range(6):
        ids = np.zeros((24, 32), np.uint8)
        ids[2:5, 2:5] = 3 * (frame >= 4)
        write_palette_png(ids, tmp_path / 'Annotations' / 'a' / f'{frame:05d}.png')
    forwards = _drawn(RandomUniformSampler(2, 2), _video(tmp_path), seeds=30)
    assert {clip.frames[0].number for clip in forwards} == {4}
    either = _drawn(RandomUniformSampler(2, 2, 0.5), _video(tmp_path), seeds=100)
    assert {clip.frames[0].number for clip in either} == {4, 5}
    with pytest.raises(ValueError, match='a: none of the 1 clips of 6 frames begins with a frame that shows an object'):
        RandomUniformSampler(6, 2).sample(_video(tmp_path))


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(num_frames=0), 'num_frames=0'), (dict(max_num_objects=1.5), 'max_num_objects=1.5'),
    (dict(reverse_time_prob=2), r'reverse_time_prob=2 must be in \[0, 1\]'),
    (dict(short_videos='pad'), "short_videos='pad' must be one of skip, error, repeat")])
def test_sampler_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        DATA_SAMPLERS.build({**SAMPLER, **settings})


def test_videos_that_are_too_short(davis, write_video, engine_log):
    write_video(davis, 'ant', frames=2)
    dataset = _dataset(davis)
    for seed in range(3):
        with seeded_sample(seed):
            assert dataset[0]['data_samples'].video_name != 'ant'
    named = [line for line in engine_log if 'ant' in line]
    assert len(named) == 1 and 'has 2 frames to learn from, a clip needs num_frames=3' in named[0]
    assert dataset.broken_records() == [0]
    for changes in (dict(sampler={**SAMPLER, 'short_videos': 'error'}), dict(test_mode=True), dict(on_error='raise')):
        with pytest.raises(ValueError, match=r"JPEGImages/ant has 2 frames.*short_videos='repeat'"):
            _dataset(davis, **changes)[0]


def test_short_videos_go_back_and_forth(davis, write_video):
    write_video(davis, 'ant', frames=3)
    clip = RandomUniformSampler(8, 2, short_videos='repeat').sample(_video(davis))
    assert [frame.number for frame in clip.frames] == [0, 1, 2, 1, 0, 1, 2, 1]
    write_video(davis, 'ape', frames=1)
    clip = RandomUniformSampler(3, 2, short_videos='repeat').sample(_video(davis, 1))
    assert [frame.number for frame in clip.frames] == [0, 0, 0]


def test_eval_sampler(davis):
    clip = EvalSampler().sample(_video(davis))
    assert [frame.number for frame in clip.frames] == [0, 1, 2, 3, 4, 5] and clip.object_ids == (1, 2)
    (davis / 'Annotations' / 'bear' / '00000.png').unlink()
    with pytest.raises(ValueError, match='the first frame shows no object'):
        EvalSampler().sample(_video(davis, unannotated_frames='empty'))


def test_a_clip(davis):
    sample = _dataset(davis, sampler=dict(type='EvalSampler'), name='davis')[1]
    clip = sample['data_samples']
    assert sample['inputs'].shape == (6, 3, 24, 32) and sample['inputs'].dtype == torch.uint8
    assert clip.gt_masks.shape == (6, 2, 24, 32) and clip.gt_masks.dtype == torch.bool
    assert clip.object_ids.tolist() == [1, 2] and clip.num_objects == 2
    frame = cv2.imread(str(davis / 'JPEGImages' / 'cat.v1.2' / '00004.png'))
    assert (sample['inputs'][4].permute(1, 2, 0).numpy() == frame).all()
    assert torch.equal((sample['inputs'][4] == torch.tensor([40, 180, 220])[:, None, None]).all(0), clip.gt_masks[4, 1])
    assert clip.metainfo == dict(video_name='cat.v1.2', frame_names=tuple(f'{i:05d}' for i in range(6)),
                                 frame_ids=(0, 1, 2, 3, 4, 5), ori_shape=(24, 32), source='davis', is_image=False,
                                 img_path=str(davis / 'JPEGImages' / 'cat.v1.2'))


def test_first_masks_are_read_once(davis, monkeypatch):
    read = []
    monkeypatch.setattr('maskforge.datasets.video.png_source.read_id_png',
                        lambda path: read.append(path) or read_id_png(path))
    _dataset(davis)[0]
    assert len(read) == len(set(read)) == 3


def test_pictures_are_clips(tmp_path, write_sa1b):
    write_sa1b(tmp_path)
    dataset = VOSDataset(SA1BRawDataset('img', 'img', data_root=str(tmp_path)), RandomUniformSampler(1, 2),
                         [dict(type='PackClip')])
    sample = dataset[0]
    assert sample['inputs'].shape == (1, 3, 24, 32) and sample['data_samples'].gt_masks.shape == (1, 2, 24, 32)
    assert sample['data_samples'].is_image and sample['data_samples'].source == 'SA1BRawDataset'


@pytest.mark.parametrize(('multiplier', 'length', 'least', 'most'), [
    (1, 3, 1, 1), (2, 6, 2, 2), (1 / 3, 1, 0, 1), (2.667, 8, 2, 4), (0.67, 2, 0, 2)])
def test_multiplier(davis, multiplier, length, least, most):
    dataset = _dataset(davis, multiplier=multiplier)
    assert len(dataset) == length
    totals = np.zeros(3)
    for epoch in range(300):
        drawn = []
        for index in range(length):
            with seeded_sample(epoch * 100 + index):
                drawn.append(dataset.video_index(index))
        counts = np.bincount(drawn, minlength=3)
        assert counts.min() >= least and counts.max() <= most
        totals += counts
    assert np.abs(totals / 300 - length / 3).max() < 0.12  # every video as often as any other


def test_multiplier_out_of_range(davis):
    for multiplier in (0, -1, 0.1):
        with pytest.raises(ValueError, match=f'multiplier={multiplier} of VOSDataset leaves nothing of 3 videos'):
            _dataset(davis, multiplier=multiplier)
    with pytest.raises(ValueError, match="on_error='ignore' of VOSDataset: allowed is skip and raise"):
        _dataset(davis, on_error='ignore')
    with pytest.raises(ValueError, match='the pipeline of clips is empty'):
        _dataset(davis, pipeline=[])


def _cut(path):
    path.write_bytes(path.read_bytes()[:60])


def _other_size(path):
    write_palette_png(np.ones((12, 16), np.uint8), path)


def _colours(path):
    cv2.imwrite(str(path), np.full((24, 32, 3), 9, np.uint8))


def _small(path):
    cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize(('spoil', 'file', 'message'), [
    (_cut, 'Annotations/bear/00002.png', 'bear/00002.png is not a whole, readable PNG'),
    (_cut, 'JPEGImages/bear/00002.png', 'bear/00002.png'),
    (_other_size, 'Annotations/bear/00002.png', r'bear/00002.png: the mask of object 1 has 16 x 12 pixels, its frame '
                                                r'.*JPEGImages/bear/00002.png has 32 x 24'),
    (_colours, 'Annotations/bear/00002.png', 'has the colours of mode RGB instead of object ids'),
    (_small, 'JPEGImages/bear/00003.png', 'bear/00003.png has 8 x 8 pixels, .*00000.png has 32 x 24')])
def test_broken_videos(davis, spoil, file, message, engine_log):
    spoil(davis / file)
    with pytest.raises(ValueError, match=message):
        _dataset(davis, sampler={**SAMPLER, 'num_frames': 6}, test_mode=True)[0]
    dataset = _dataset(davis, sampler={**SAMPLER, 'num_frames': 6})
    for seed in range(4):
        with seeded_sample(seed):
            assert dataset[0]['data_samples'].video_name != 'bear'
    assert sum('video bear of PNGRawDataset is skipped (1 broken videos so far)' in line for line in engine_log) == 1


def test_all_videos_broken(davis):
    with pytest.raises(ValueError, match=r'10 videos in a row could not be used, last .*Check the folders'):
        _dataset(davis, sampler={**SAMPLER, 'num_frames': 9})[0]


class _Fails:
    def __call__(self, results):
        if results['video_name'] == 'bear':
            raise ValueError('too dark')
        return results


class _Mistake:
    def __call__(self, results):
        raise AttributeError('no such thing')


def test_transforms_are_part_of_the_retry(davis, engine_log):
    dataset = _dataset(davis, pipeline=[_Fails(), dict(type='PackClip')])
    with seeded_sample(0):
        assert dataset[0]['data_samples'].video_name != 'bear'
    assert any('_Fails, on ' in line and 'too dark' in line for line in engine_log)
    with pytest.raises(RuntimeError, match='no such thing'):  # a mistake in the program is no broken video
        _dataset(davis, pipeline=[_Mistake()])[0]


def _loaded(dataset, workers):
    loader = DataLoader(SeededDataset(dataset), sampler=[SampleKey(i % 3, 7 * i) for i in range(4)], batch_size=None,
                        num_workers=workers)
    return [(sample['inputs'], sample['data_samples'].gt_masks) for sample in loader]


def test_seeds_say_everything(davis):
    pipeline = [dict(type='ClipRandomFlip'), dict(type='ClipRandomAffine', degrees=25, shear=20),
                dict(type='ClipResize', sizes=16, square=True), dict(type='ClipColorJitter', brightness=.3),
                dict(type='PackClip')]
    dataset = _dataset(davis, pipeline=pipeline, multiplier=2.5)
    alone, spread = _loaded(dataset, 0), _loaded(pickle.loads(pickle.dumps(dataset)), 2)
    for one, other in zip(alone, spread):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
    assert not torch.equal(alone[0][0], alone[3][0])


def test_frames_of_repeated_pictures_are_read_once(tmp_path, write_sa1b):
    write_sa1b(tmp_path)
    video = SA1BRawDataset('img', 'img', data_root=str(tmp_path), num_frames=3).video(0)
    results = load_clip(video, EvalSampler().sample(video), source='x')
    assert len(results['frames']) == 3 and len({id(frame) for frame in results['frames']}) == 1


def test_whole_videos(davis):
    (davis / 'Annotations' / 'dog' / '00001.png').unlink()
    dataset = DATASETS.build(dict(type='WholeVideoDataset', video_dataset=_source(davis), image_size=(16, 24),
                                  name='davis'))
    assert len(dataset) == 3 and dataset.test_mode
    item = pickle.loads(pickle.dumps(dataset[2]))
    frames, sample = item['inputs'], item['data_samples']
    assert len(frames) == 6 and frames[5].shape == (3, 16, 24) and frames[-1].dtype == torch.uint8
    assert frames.ori_shape == sample.ori_shape == (24, 32) and frames.names[1] == sample.frame_names[1] == '00001'
    assert (sample.video_name, sample.source, sample.is_image) == ('dog', 'davis', False)
    assert sample.gt_frames.annotated == [0, 2, 3, 4, 5] and sample.gt_frames.object_ids == [1, 2]
    assert sample.gt_frames[2][2].shape == (24, 32) and sample.gt_frames[2][2].sum() == 16
    with pytest.raises(KeyError, match=r'frame 1 has no annotation; the nearest that have are \[0, 2, 3\]'):
        sample.gt_frames[1]


def test_whole_videos_of_other_layouts(tmp_path, write_sav):
    write_sav(tmp_path)
    item = WholeVideoDataset(JSONRawDataset('frames', 'json', data_root=str(tmp_path)), 16)[0]
    assert len(item['inputs']) == 8 and item['data_samples'].gt_frames.annotated == [0, 2, 4, 6]
    assert {number: int(mask.sum()) for number, mask in item['data_samples'].gt_frames[4].items()} == {4: 16, 7: 16}


def test_frames_that_are_kept(davis, monkeypatch):
    read = []
    monkeypatch.setattr('maskforge.datasets.video.whole_videos.read_frame',
                        lambda frame: read.append(frame.number) or cv2.imread(frame.path))
    source = PNGRawDataset('JPEGImages', 'Annotations', data_root=str(davis))
    for kept, expected in ((1, [0, 1, 0, 1]), (2, [0, 1])):
        frames = WholeVideoDataset(source, 8, frames_kept=kept)[0]['inputs']
        read.clear()
        for place in (0, 1, 0, 1):
            frames[place]
        assert read == expected


def test_whole_video_settings(davis):
    source = PNGRawDataset('JPEGImages', 'Annotations', data_root=str(davis))
    smooth, plain = (WholeVideoDataset(source, 8, interpolation=kind)[0]['inputs'][0]
                     for kind in ('bicubic', 'bilinear'))
    assert not torch.equal(smooth, plain)
    with pytest.raises(ValueError, match="interpolation='nearest': allowed are bilinear, bicubic"):
        WholeVideoDataset(source, 8, interpolation='nearest')
    with pytest.raises(ValueError, match='test_mode must be True'):
        WholeVideoDataset(source, 8, test_mode=False)
    for path in (davis / 'Annotations' / 'bear').iterdir():
        path.unlink()
    with pytest.raises(ValueError, match='none of its 6 frames is annotated'):
        WholeVideoDataset(source, 8)[0]


@pytest.mark.skipif('MASKFORGE_TEST_DATA' not in os.environ, reason='MASKFORGE_TEST_DATA names a folder of real data')
def test_real_davis_videos():
    root = f'{os.environ["MASKFORGE_TEST_DATA"]}/davis'
    dataset = _dataset(root, sampler={**SAMPLER, 'num_frames': 8},
                       pipeline=[dict(type='ClipResize', sizes=128, square=True), dict(type='PackClip')])
    for index in range(len(dataset)):
        sample = dataset[index]
        assert sample['inputs'].shape == (8, 3, 128, 128) and sample['data_samples'].gt_masks.any((2, 3)).all()
