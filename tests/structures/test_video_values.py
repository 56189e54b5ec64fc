"""Clips and lazy videos."""
import pickle

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate

from maskforge.structures import ClipSample, VideoFrames, VideoMasks


class _Load:
    """Counts what it is asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, place):
        self.asked.append(place)
        return torch.full((3, 2, 2), place, dtype=torch.uint8)


def test_few_frames_stay_in_memory():
    load = _Load()
    frames = VideoFrames('abcde', load, ori_shape=(7, 9), kept=2)
    assert len(frames) == 5 and frames.names == tuple('abcde') and frames.ori_shape == (7, 9)
    for place in (0, 0, 1, 0, 2, 0, 1, -1):
        assert int(frames[place][0, 0, 0]) == place % 5
    assert load.asked == [0, 1, 2, 1, 4] and len(frames._frames) == 2
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 1, 2, 3, 4]
    assert pseudo_collate([dict(inputs=frames)])['inputs'] == [frames]  # as it is
    copy = pickle.loads(pickle.dumps(frames))
    assert not copy._frames and int(copy[3][0, 0, 0]) == 3


def test_frames_that_are_not_there():
    frames = VideoFrames('ab', _Load(), ori_shape=(7, 9))
    for place in (2, -3):
        with pytest.raises(IndexError, match=f'frame {place} of a video of 2 frames'):
            frames[place]
    with pytest.raises(TypeError, match='one frame at a time'):
        frames[:1]
    with pytest.raises(ValueError, match='kept=0'):
        VideoFrames('ab', _Load(), ori_shape=(7, 9), kept=0)


def test_masks_of_a_video():
    mask = np.ones((2, 2), bool)
    of_frame = {1: {5: ~mask, 2: mask}, 4: {5: mask}, 9: {2: mask}}
    masks = VideoMasks(of_frame.__getitem__, [1, 4, 9])
    assert len(masks) == 3 and list(masks) == [1, 4, 9] and 4 in masks and 5 not in masks
    assert masks[4] is of_frame[4] and masks.object_ids == [2, 5] and masks.first_frames() == {2: 1, 5: 4}
    with pytest.raises(KeyError, match=r'frame 5 has no annotation; the nearest that have are \[1, 4, 9\]'):
        masks[5]
    assert VideoMasks(None, [0], object_ids=[3, 1]).object_ids == [1, 3]  # nothing is read for them


def test_a_clip_moves_with_its_tensors():
    sample = ClipSample(gt_masks=torch.ones(2, 3, 4, 5, dtype=torch.bool), object_ids=torch.tensor([1, 2, 9]),
                        metainfo=dict(video_name='a', is_image=False))
    assert sample.num_objects == 3 and sample.video_name == 'a'
    assert sample.to('meta').gt_masks.device.type == 'meta' and 'gt_masks' in sample
