"""Resizing against mmcv's own transform, and the ranges of the random ones."""
import copy

import mmcv.transforms
import numpy as np
import pytest

from maskforge.datasets.transforms import RandomChoiceResize, RandomResize, Resize
from maskforge.structures import InstanceMasks, seeded_sample


def drawn(height: int = 48, width: int = 70) -> dict:
    rng = np.random.default_rng(0)
    return dict(img=rng.integers(0, 256, (height, width, 3), dtype=np.uint8), img_shape=(height, width),
                gt_bboxes=np.array([[3, 4, 50, 40]], dtype=np.float32),
                gt_seg_map=rng.integers(0, 5, (height, width)).astype(np.uint8),
                gt_masks=InstanceMasks([[[3, 4, 50, 4, 50, 40, 3, 40]]], height, width))


@pytest.mark.parametrize('options', [
    dict(scale=(133, 80), keep_ratio=True), dict(scale=(80, 133), keep_ratio=True), dict(scale=(31, 99)),
    dict(scale=40), dict(scale_factor=0.37), dict(scale_factor=(1.5, 0.7)),
    dict(scale=(133, 80), keep_ratio=True, backend='pillow')])
def test_equals_mmcv(options):
    ours, theirs = Resize(**options)(drawn()), mmcv.transforms.Resize(**options)(drawn())
    for key in ('img', 'img_shape', 'scale_factor', 'scale', 'keep_ratio'):
        assert np.array_equal(ours[key], theirs[key])
    # maps are cv2's whatever resizes the image, so that they stay in step with masks
    assert np.array_equal(ours['gt_seg_map'], mmcv.transforms.Resize(**{**options, 'backend': 'cv2'})(
        drawn())['gt_seg_map'])
    assert np.allclose(ours['gt_bboxes'], theirs['gt_bboxes']) and ours['gt_bboxes'].dtype == np.float32
    assert (ours['gt_masks'].height, ours['gt_masks'].width) == ours['img_shape']
    assert np.allclose(ours['gt_masks'].bboxes(), ours['gt_bboxes'])


def test_sides_are_rounded_to_the_nearest_pixel():
    results = Resize(scale=(1333, 800), keep_ratio=True)(drawn(427, 640))
    assert results['img_shape'] == (800, 1199)
    assert results['scale_factor'] == (1199 / 640, 800 / 427)


def test_factors_multiply():
    results = Resize(scale=(10, 20))(Resize(scale_factor=3)(drawn()))
    assert results['scale_factor'] == pytest.approx((10 / 70, 20 / 48))


def test_boxes_are_clipped_unless_told():
    results = drawn()
    results['gt_bboxes'] = np.array([[-5, 0, 100, 20]], dtype=np.float32)
    assert Resize(scale_factor=2)(copy.copy(results))['gt_bboxes'].tolist() == [[0, 0, 140, 40]]
    assert Resize(scale_factor=2, clip_object_border=False)(results)['gt_bboxes'].tolist() == [[-10, 0, 200, 40]]


@pytest.mark.parametrize('options', [{}, dict(scale=(3, 3), scale_factor=2)])
def test_needs_one_size(options):
    with pytest.raises(ValueError, match='either scale or scale_factor'):
        Resize(**options)


def sizes(transform, count: int = 200) -> list[tuple]:
    found = []
    for seed in range(count):
        with seeded_sample(seed):
            found.append(transform(drawn())['scale'])
    return found


def test_random_resize_ratio():
    found = sizes(RandomResize(scale=(100, 50), ratio_range=(0.1, 2.0), keep_ratio=True))
    assert min(found)[0] < 20 and max(found)[0] > 180
    assert all(10 <= x <= 200 and abs(x - 2 * y) <= 2 for x, y in found)


@pytest.mark.parametrize('scale', [[(133, 64), (133, 80)], [[133, 64], [133, 80]]])
def test_random_resize_between(scale):
    found = sizes(RandomResize(scale=scale, keep_ratio=True))
    assert {x for x, _ in found} == {133} and {y for _, y in found} == set(range(64, 81))


def test_random_choice_resize():
    transform = RandomChoiceResize(scales=[(133, side) for side in (64, 67, 70)], keep_ratio=True)
    assert set(sizes(transform)) == {(133, 64), (133, 67), (133, 70)}
    with seeded_sample(0):
        results = transform(drawn())
    assert transform.scales[results['scale_idx']] == results['scale']


@pytest.mark.parametrize('options', [dict(scale=(10, 10)), dict(scale=[(1, 2), (3, 4)], ratio_range=(1, 2)),
                                     dict(scale=[(1, 2), (3, 4), (5, 6)])])
def test_random_resize_forms(options):
    with pytest.raises(ValueError, match='RandomResize takes'):
        RandomResize(**options)
