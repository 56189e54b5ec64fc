import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from maskforge import ops

SIZE = (50, 60)


def decode(rles, size=SIZE):
    return np.stack([coco_mask.decode(rle) for rle in rles]).astype(bool) if rles else np.zeros((0, *size), bool)


@given(st.integers(0, 10_000), st.sampled_from([0.2, 0.5, 0.9]))
@settings(max_examples=25, deadline=None)
def test_run_lengths_equal_the_undivided_formula(seed, threshold):
    generator = torch.Generator().manual_seed(seed)
    probs = torch.rand(6, 28, 28, generator=generator)
    corner = torch.rand(6, 2, generator=generator) * 80 - 20
    boxes = torch.cat((corner, corner + torch.rand(6, 2, generator=generator) * 60), dim=1)
    want = ops.paste_masks(probs, boxes, SIZE) >= threshold
    assert np.array_equal(decode(ops.paste_to_rles(probs, boxes, SIZE, threshold=threshold)), want.numpy())


@pytest.mark.parametrize('box', [
    [-10, -10, 80, 80], [5, 5, 5, 9], [5, 5, 5, 5], [-30, -30, -10, -10], [100, 100, 120, 120], [0, 0, 60, 50],
    [59.5, 49.5, 60, 50], [0, 20, 60, 20.25], [10, -50, 11, 120]])
def test_odd_boxes(box):
    probs, boxes = torch.full((1, 28, 28), 0.9), torch.tensor([box], dtype=torch.float32)
    want = ops.paste_masks(probs, boxes, SIZE) >= 0.5
    assert np.array_equal(decode(ops.paste_to_rles(probs, boxes, SIZE)), want.numpy())


def test_a_full_mask_covers_the_pixels_whose_centre_is_inside():
    pasted = decode(ops.paste_to_rles(torch.ones(1, 28, 28), torch.tensor([[10., 20, 30, 25]]), SIZE))[0]
    rows, columns = np.nonzero(pasted)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 24, 10, 29)
    assert pasted.sum() == 100


@pytest.mark.parametrize('budget', [1, 2**14, 2**28])
def test_the_budget_changes_nothing(budget, monkeypatch):
    torch.manual_seed(0)
    probs, boxes = torch.rand(9, 14, 14), torch.rand(9, 4) * 20
    boxes[:, 2:] += boxes[:, :2] + 5
    want = ops.paste_to_rles(probs, boxes, SIZE)
    chunks = ops.masks._chunks
    # as on a GPU: several masks at a time
    monkeypatch.setattr(ops.masks, '_chunks', lambda w, b, _: chunks(w, b, torch.device('meta')))
    assert ops.paste_to_rles(probs, boxes, SIZE, budget_bytes=budget) == want


def test_bits_are_kept_until_run_lengths_are_asked_for():
    probs, boxes = torch.rand(3, 14, 14), torch.tensor([[3., 4, 30, 20], [3, 4, 3, 20], [40, 30, 70, 70]])
    packed = ops.paste_packed(probs, boxes, SIZE)
    assert [mask.rle for mask in packed] == ops.paste_to_rles(probs, boxes, SIZE)
    assert sum(mask.bits.nbytes for mask in packed) < 3 * SIZE[0] * SIZE[1] / 8


def test_nothing_to_paste_and_thresholds_out_of_range():
    assert ops.paste_to_rles(torch.zeros(0, 28, 28), torch.zeros(0, 4), SIZE) == []
    with pytest.raises(ValueError, match=r'mask_thr_binary.*must be in \(0, 1\], got 0'):
        ops.paste_to_rles(torch.zeros(0, 28, 28), torch.zeros(0, 4), SIZE, threshold=0)


def test_a_large_image_with_many_masks_needs_little_memory():
    import tracemalloc

    boxes = torch.tensor([[10., 10, 60, 60]]).repeat(50, 1)
    tracemalloc.start()
    ops.paste_to_rles(torch.rand(50, 28, 28), boxes, (8000, 8000))
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
