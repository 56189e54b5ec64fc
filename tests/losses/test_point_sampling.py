import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maskforge.losses.point_sampling import (
    _sample_bytes,
    random_points,
    sample_masks,
    sample_points,
    uncertain_points,
)

ON_ANY_DEVICE = pytest.mark.parametrize('sample', [sample_masks, _sample_bytes])


@ON_ANY_DEVICE
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 3), st.integers(0, 99))
def test_samples_of_bytes_equal_those_of_floats(sample, height, width, pairs, seed):
    torch.manual_seed(seed)
    masks = torch.rand(3, height, width) < 0.5
    which, points = torch.randint(3, (pairs,)), torch.rand(pairs, 20, 2)
    points[:, 0], points[:, 1] = 0, 1  # corners of the map
    expected = sample_points(masks[which][:, None].float(), points)[:, 0]
    assert torch.allclose(sample(masks, which, points), expected, atol=1e-5)


@ON_ANY_DEVICE
@pytest.mark.parametrize('point, expected', [
    ((0.25, 0.25), 1.0),  # centre of the first pixel
    ((0.5, 0.25), 0.5),   # half way to its neighbour
    ((0.0, 0.25), 0.5),   # the left edge: half of the sample lies beyond the map
    ((0.0, 0.0), 0.25),
    ((0.75, 0.75), 0.0),
])
def test_places(sample, point, expected):
    mask = torch.tensor([[[True, False], [False, False]]])
    points = torch.tensor([[point]])
    assert sample(mask, torch.tensor([0]), points).item() == expected
    assert sample_points(mask[None].float(), points).item() == expected


def test_samples_in_half_precision_are_float32():
    maps = torch.rand(1, 2, 8, 8, dtype=torch.bfloat16)
    assert sample_points(maps, torch.rand(1, 5, 2)).dtype == torch.float32


def test_uncertain_points_lie_where_logits_change_their_sign():
    torch.manual_seed(0)
    ramp = torch.linspace(-4, 4, 64).expand(2, 64, 64)
    points = uncertain_points(ramp, 400, oversample_ratio=4, importance_sample_ratio=0.75)
    assert points.shape == (2, 400, 2)
    near = (points[..., 0] - 0.5).abs() < 0.13
    # 300 of 1,600 points: the 3/16 nearest to the middle (a few lie at the edges, where samples mix with zero), and a
    # quarter of the other 100
    assert near[:, :300].float().mean() > 0.95 and near[:, 300:].sum(1).min() > 5 and near[:, 300:].sum(1).max() < 50
    everywhere = uncertain_points(ramp, 400, oversample_ratio=1, importance_sample_ratio=0)
    assert 0.15 < ((everywhere[..., 0] - 0.5).abs() < 0.13).float().mean() < 0.37


@ON_ANY_DEVICE
def test_no_pairs(sample):
    assert uncertain_points(torch.zeros(0, 4, 4), 10).shape == (0, 10, 2)
    assert sample(torch.zeros(0, 4, 4, dtype=torch.bool), torch.zeros(0, dtype=torch.long),
                  torch.zeros(0, 10, 2)).shape == (0, 10)


def test_random_points():
    points = random_points(3, 1000, torch.zeros(1))
    assert points.shape == (3, 1000, 2) and points.min() >= 0 and points.max() <= 1
    assert (points.mean((0, 1)) - 0.5).abs().max() < 0.05
