"""Masks in the image and the agreement scores, against loops over pixels."""
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from maskforge.models.mal.postprocess import (
    box_agreement,
    inside_boxes,
    mask_in_image,
    paste_window,
    teacher_agreement,
    visible_window,
)


def linear(values, position):
    low = math.floor(position)
    part = position - low
    first, second = (values[min(max(i, 0), len(values) - 1)] for i in (low, low + 1))
    return first * (1 - part) + second * part


def resized(probs, height, width):
    """Bilinear, centres at half pixels, borders repeated."""
    side = len(probs)
    rows = [linear(probs, (y + 0.5) * side / height - 0.5) for y in range(height)]
    return np.array([[linear(row, (x + 0.5) * side / width - 0.5) for x in range(width)] for row in rows])


def test_inside_boxes():
    found = inside_boxes(torch.tensor([[0.0, 2.0, 8.0, 5.9], [3.1, 0.0, 4.9, 8.0]]), 8, 4)
    # centres at 1, 3, 5, 7
    assert found.shape == (2, 4, 4)
    assert found[0].tolist() == [[False] * 4, [True] * 4, [True] * 4, [False] * 4]
    assert not found[1].any()


@given(st.lists(st.integers(-8, 20), min_size=2, max_size=2), st.lists(st.integers(1, 25), min_size=2, max_size=2),
       st.booleans())
@settings(max_examples=40, deadline=None)
def test_mask_in_image(corner, sides, clip):
    crop_box = [corner[0], corner[1], corner[0] + sides[0], corner[1] + sides[1]]
    height, width, box = 12, 16, (2.3, 1.5, 9.5, 10.6)
    probs = np.random.default_rng(sum(sides)).random((6, 6))
    window = visible_window(crop_box, (height, width), box if clip else None)
    rle, tight = mask_in_image(torch.from_numpy(probs), crop_box, window, (height, width), 0.4)
    canvas = np.zeros((height, width), bool)
    patch = resized(probs, sides[1], sides[0]) > 0.4
    for y in range(height):
        for x in range(width):
            in_crop = crop_box[0] <= x < crop_box[2] and crop_box[1] <= y < crop_box[3]
            in_box = box[0] <= x + 0.5 < box[2] and box[1] <= y + 0.5 < box[3]
            canvas[y, x] = in_crop and (in_box or not clip) and patch[y - crop_box[1], x - crop_box[0]]
    assert (coco_mask.decode(rle).astype(bool) == canvas).all()
    ys, xs = np.nonzero(canvas)
    assert tight == ([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(xs) else None)


@pytest.mark.parametrize(('crop_box', 'box', 'expected'), [
    ([-5, -5, 30, 30], None, (0, 0, 20, 10)),
    ([2, 3, 15, 9], (4.5, 4.4, 9.4, 8.6), (4, 4, 9, 9)),
    ([2, 3, 15, 9], (5.2, 5.2, 5.3, 8), (5, 5, 6, 8)),  # no centre inside: the pixel at the box's own
    ([25, 3, 35, 9], None, (25, 3, 25, 9)),
])
def test_visible_window(crop_box, box, expected):
    assert visible_window(crop_box, (10, 20), box) == expected


def test_nothing_of_the_crop_is_visible():
    rle, tight = mask_in_image(torch.ones(4, 4), [25, 3, 35, 9], (25, 3, 25, 9), (10, 20), 0.1)
    assert tight is None and coco_mask.area(rle) == 0 and rle['size'] == [10, 20]


def test_no_canvas_of_the_image(monkeypatch):
    import torch.nn.functional as F
    sizes = []
    original = F.interpolate
    monkeypatch.setattr(F, 'interpolate', lambda *a, **k: sizes.append(k['size']) or original(*a, **k))
    rle, _ = mask_in_image(torch.ones(4, 4), [10, 10, 30, 20], (10, 10, 30, 20), (20000, 30000), 0.5)
    assert sizes == [(10, 20)] and coco_mask.area(rle) == 200


def test_paste_is_exact_where_nothing_is_resized():
    probs = torch.rand(5, 5)
    assert torch.equal(paste_window(probs, [3, 4, 8, 9], (4, 4, 8, 7)), probs[0:3, 1:5])


def test_teacher_agreement():
    student = torch.tensor([[[9.0, 9.0], [-9.0, 9.0]], [[9.0, -9.0], [-9.0, -9.0]]])
    teacher = torch.tensor([[[9.0, -9.0], [9.0, 9.0]], [[9.0, -9.0], [-9.0, -9.0]]])
    inside = torch.ones(2, 2, 2, dtype=torch.bool)
    assert teacher_agreement(student, teacher, inside, [0.5, 0.5]) == [0.5, 1.0]
    inside[0, 1, 0] = inside[0, 0, 1] = inside[1] = False
    assert teacher_agreement(student, teacher, inside, [0.5, 0.5]) == [1.0, 0.0]
    # probabilities of 0.27 and 0.12 on either side of the thresholds
    logits = torch.full((2, 2, 2), -1.0), torch.full((2, 2, 2), -2.0)
    assert teacher_agreement(*logits, torch.ones(2, 2, 2, dtype=torch.bool), [0.1, 0.2]) == [1.0, 0.0]


@pytest.mark.parametrize(('tight', 'box', 'expected'), [
    ([2, 2, 6, 6], (2.0, 2.0, 6.0, 6.0), 1.0),
    ([2, 2, 6, 4], (2.0, 2.0, 6.0, 6.0), 0.5),
    ([0, 2, 6, 6], (-3.0, 2.0, 6.0, 6.0), 1.0),  # the box ends where the image does
    ([0, 0, 2, 2], (4.0, 4.0, 6.0, 6.0), 0.0),
    (None, (2.0, 2.0, 6.0, 6.0), 0.0),
])
def test_box_agreement(tight, box, expected):
    assert box_agreement(tight, box, (10, 20)) == pytest.approx(expected)
