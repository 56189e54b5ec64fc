import numpy as np
import pytest
import torch

from maskforge.losses import box_mil_loss, dice_loss, squared_dice_loss


def squared(p, t, eps=1e-3):
    return 1 - 2 * (p * t).sum() / ((p**2).sum() + eps + (t**2).sum() + eps)


@pytest.fixture
def maps():
    rng = np.random.default_rng(0)
    return rng.random((3, 6, 5)), (rng.random((3, 6, 5)) > 0.5).astype(float)


def test_dice_forms(maps):
    p, t = maps
    found = squared_dice_loss(torch.tensor(p), torch.tensor(t))
    np.testing.assert_allclose(found, [squared(*pair) for pair in zip(p, t)], rtol=1e-5)
    found = dice_loss(torch.tensor(p), torch.tensor(t))
    np.testing.assert_allclose(found, [1 - (2 * (a * b).sum() + 1) / (a.sum() + b.sum() + 1) for a, b in zip(p, t)],
                               rtol=1e-5)
    assert found.dtype == torch.float32


def test_mil_is_dice_of_both_projections(maps):
    p, _ = maps
    p = p[..., :5, :]
    rows, columns = np.array([[0, 1, 1, 0.5, 0]] * 3), np.array([[0.25, 1, 1, 0, 0]] * 3)
    expected = [squared(a.max(1), b) + squared(a.max(0), c) for a, b, c in zip(p, rows, columns)]
    np.testing.assert_allclose(box_mil_loss(*map(torch.tensor, (p, rows, columns))), expected, rtol=1e-5)


def test_the_box_itself_is_a_perfect_mask_for_mil():
    mask = torch.zeros(1, 8, 8)
    mask[:, 2:5, 3:7] = 1
    assert box_mil_loss(mask, mask.amax(2), mask.amax(1)).item() < 1e-3
