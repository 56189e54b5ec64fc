"""Padding against mmcv's own transform."""
import mmcv.transforms
import numpy as np
import pytest

from maskforge.datasets.transforms import Pad
from maskforge.structures import InstanceMasks


def drawn() -> dict:
    rng = np.random.default_rng(0)
    return dict(img=rng.integers(0, 256, (30, 41, 3), dtype=np.uint8), gt_seg_map=np.zeros((30, 41), dtype=np.uint8),
                gt_masks=InstanceMasks([[[3, 4, 60, 4, 60, 20, 3, 20]]], 30, 41))


@pytest.mark.parametrize('options', [
    dict(size=(64, 48)), dict(size_divisor=32), dict(pad_to_square=True), dict(pad_to_square=True, size_divisor=32),
    dict(size_divisor=32, pad_val=7), dict(size=(64, 48), pad_val=dict(img=(1, 2, 3), seg=9)),
    dict(size=(64, 48), padding_mode='edge')])
def test_equals_mmcv(options):
    ours, theirs = Pad(**options)(drawn()), mmcv.transforms.Pad(**options)(drawn())
    for key in ('img', 'gt_seg_map', 'img_shape', 'pad_shape'):
        assert np.array_equal(ours[key], theirs[key])
    bitmap = ours['gt_masks'].to_bitmaps()[0]
    assert bitmap.shape == ours['img_shape']
    assert (bitmap[:30, :41] == drawn()['gt_masks'].to_bitmaps()[0]).all() and not bitmap[:, 41:].any()


def test_masks_are_padded_with_nothing():
    assert Pad(size_divisor=32, pad_val=dict(img=1, masks=0))(drawn())['img'][-1, -1].tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match='masks can only be padded with 0'):
        Pad(size_divisor=32, pad_val=dict(masks=1))
