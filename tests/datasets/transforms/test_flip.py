"""Flipping against mmcv's own transform, and how often."""
from collections import Counter

import mmcv.transforms
import numpy as np
import pytest

from maskforge.datasets.transforms import RandomFlip
from maskforge.structures import InstanceMasks, seeded_sample


def drawn() -> dict:
    rng = np.random.default_rng(0)
    return dict(img=rng.integers(0, 256, (48, 70, 3), dtype=np.uint8), gt_seg_map=np.arange(48 * 70).reshape(48, 70),
                gt_bboxes=np.array([[3, 4, 50, 40]], dtype=np.float32),
                gt_masks=InstanceMasks([[[3, 4, 50, 4, 50, 40, 3, 40]]], 48, 70))


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_equals_mmcv(direction):
    ours = RandomFlip(prob=1., direction=direction)(drawn())
    theirs = mmcv.transforms.RandomFlip(prob=1., direction=direction)(drawn())
    for key in ('img', 'gt_bboxes', 'gt_seg_map', 'flip', 'flip_direction'):
        assert np.array_equal(ours[key], theirs[key])
    assert np.array_equal(ours['gt_masks'].bboxes(), ours['gt_bboxes'])


@pytest.mark.parametrize('options, expected', [
    (dict(prob=0), {None: 1}), (dict(prob=0.5), {None: 0.5, 'horizontal': 0.5}),
    (dict(prob=1, direction=['horizontal', 'vertical']), {'horizontal': 0.5, 'vertical': 0.5}),
    (dict(prob=[0.3, 0.5], direction=['horizontal', 'diagonal']), {None: 0.2, 'horizontal': 0.3, 'diagonal': 0.5})])
def test_shares(options, expected):
    transform, found = RandomFlip(**options), Counter()
    for seed in range(400):
        with seeded_sample(seed):
            found[transform._choose_direction()] += 1
    assert set(found) == set(expected)
    assert all(found[key] / 400 == pytest.approx(share, abs=0.08) for key, share in expected.items())
