"""Masks as bits of a window: what they give is what their run lengths give."""
import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from maskforge.structures import InstanceMasks, packed_mask
from maskforge.structures.packed_mask import PackedMask, window_to_rle
from maskforge.structures.rle import decode, encode

SIZE = 21, 37


@pytest.mark.parametrize('window', [(0, 0, 7, 5), (2, 1, 5, 4), (0, 0, 3, 5), (3, 0, 7, 5), (2, 2, 2, 4), (1, 0, 4, 3),
                                    (1, 2, 4, 5)])
@pytest.mark.parametrize('fill', ['ones', 'zeros', 'random'])
def test_window_run_lengths_equal_those_of_the_image(window, fill):
    x0, y0, x1, y1 = window
    bitmap = dict(ones=np.ones, zeros=np.zeros)[fill]((y1 - y0, x1 - x0)).astype(bool) if fill != 'random' else \
        np.random.default_rng(0).random((y1 - y0, x1 - x0)) < 0.5
    image = np.zeros((5, 7), np.uint8)
    image[y0:y1, x0:x1] = bitmap
    assert window_to_rle(bitmap, window, (5, 7)) == coco_mask.encode(np.asfortranarray(image))


@st.composite
def bitmaps(draw):
    """Bitmaps of ``SIZE`` that are empty outside a window, and the window."""
    x0, x1 = sorted(draw(st.lists(st.integers(0, SIZE[1]), min_size=2, max_size=2)))
    y0, y1 = sorted(draw(st.lists(st.integers(0, SIZE[0]), min_size=2, max_size=2)))
    share = draw(st.sampled_from([0., 0.03, 0.5, 1.]))
    bitmap = np.zeros(SIZE, bool)
    bitmap[y0:y1, x0:x1] = np.random.default_rng(draw(st.integers(0, 99))).random((y1 - y0, x1 - x0)) < share
    return bitmap, (x0, y0, x1, y1)


def both_forms(bitmap, window):
    x0, y0, x1, y1 = window
    return (PackedMask.from_window(bitmap[y0:y1, x0:x1], window, SIZE),
            PackedMask.from_rows(np.packbits(bitmap, axis=1), SIZE))


@given(bitmaps())
@settings(deadline=None, max_examples=100)
def test_both_forms_are_the_bitmap(given_bitmap):
    bitmap, window = given_bitmap
    rle = encode(bitmap[None])[0]
    x, y, width, height = coco_mask.toBbox(rle)
    for mask in both_forms(bitmap, window):
        found = decode(mask)
        assert found.dtype == np.uint8 and (found == bitmap).all()
        assert mask.rle == rle and mask.box == (x, y, x + width, y + height)
        assert mask.bits.nbytes <= (window[3] - window[1]) * -(-(window[2] - window[0] + 14) // 8)


@given(st.lists(bitmaps(), min_size=1, max_size=4))
@settings(deadline=None, max_examples=40)
def test_masks_of_bits_are_masks_of_run_lengths(given_bitmaps):
    pixels = np.stack([bitmap for bitmap, _ in given_bitmaps])
    packed = InstanceMasks([both_forms(*one)[i % 2] for i, one in enumerate(given_bitmaps)], *SIZE)
    encoded = InstanceMasks.from_bitmaps(pixels)
    views = (lambda m: m, lambda m: m[[0, 0]], lambda m: m[::-1], lambda m: m.flip('diagonal'),
             lambda m: m.resize((40, 30)), lambda m: m.crop((3, 2, 20, 15)), lambda m: m.pad((30, 40)),
             lambda m: m.with_pixels(), lambda m: InstanceMasks.cat([m, m]), lambda m: m.replace([0], m[0]),
             InstanceMasks.encoded, copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m)))
    questions = (InstanceMasks.to_bitmaps, InstanceMasks.bboxes, InstanceMasks.areas, InstanceMasks.to_rles,
                 lambda m: m.segmentations, repr, len, lambda m: m.crop_and_resize([[2, 2, 20, 18]], [0], 7))
    for view in views:
        for question in questions:
            found, want = question(view(packed)), question(view(encoded))
            assert np.array_equal(found, want) and getattr(found, 'dtype', 0) == getattr(want, 'dtype', 0)
    assert packed.to_rles() == encoded.to_rles()


def test_run_lengths_are_made_when_they_are_asked_for_and_once(monkeypatch):
    made = []
    monkeypatch.setattr(packed_mask, 'window_to_rle', lambda *given: made.append(given) or window_to_rle(*given))
    masks = InstanceMasks([*both_forms(np.eye(*SIZE, dtype=bool), (0, 0, 21, 21))], *SIZE)
    masks.bboxes(), masks.to_bitmaps(), masks.with_pixels(), masks[[1, 0, 0]].bboxes()
    assert not made
    first, second, third = masks[[1, 0, 0]].to_rles()
    assert masks.to_rles() == masks.segmentations == [second, first] and len(made) == 2
    second['counts'] = second['counts'].decode()
    assert isinstance(third['counts'], bytes)
    assert all(isinstance(rle['counts'], bytes) for rle in masks.to_rles())


def test_pickles_hold_run_lengths():
    mask = both_forms(np.eye(*SIZE, dtype=bool), (0, 0, 37, 21))[0]
    assert pickle.loads(pickle.dumps(mask)) == mask.rle == copy.deepcopy(mask)


def test_bits_of_another_frame():
    mask = PackedMask.from_rows(np.zeros((4, 1), np.uint8), (4, 8))
    with pytest.raises(ValueError, match=r'instance 0: the mask has size \(h, w\) = \(4, 8\), the image has \(4, 9\)'):
        InstanceMasks([mask], 4, 9)


def test_a_cut_keeps_no_other_bits():
    rows = np.zeros((50, 2000, 400), np.uint8)
    rows[3, 7, 20] = 4
    mask = PackedMask.from_rows(rows[3], (2000, 3200))
    assert mask.bits.base is None and mask.bits.shape == (1, 1) and mask.box == (165, 7, 166, 8)
