import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maskforge.ops.deformable_attention import IMPLEMENTATIONS as IMPLEMENTATIONS_BY_NAME
from maskforge.ops.deformable_attention import attention_implementation, multi_scale_deformable_attention
from maskforge.ops.fused_attention import INSTALLED
from maskforge.ops.sampled_attention import bilinear_gather

IMPLEMENTATIONS = ('grid_sample', 'gather', *(['numba'] if INSTALLED['numba'] else []))


def inputs(shapes, *, batch=2, heads=2, channels=3, queries=4, points=2, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tokens = sum(h * w for h, w in shapes)
    value = torch.randn(batch, tokens, heads, channels, generator=generator, dtype=torch.float64)
    size = (batch, queries, heads, len(shapes), points)
    # some of them outside
    locations = torch.rand(*size, 2, generator=generator, dtype=torch.float64) * 1.4 - 0.2
    weights = torch.rand(*size, generator=generator, dtype=torch.float64)
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    return value.to(dtype), locations.to(exact), weights.to(dtype)


def pixel(level, x, y):
    """Value of a (h, w, D) map; zero outside."""
    inside = 0 <= x < level.shape[1] and 0 <= y < level.shape[0]
    return level[y, x] if inside else torch.zeros_like(level[0, 0])


def one_sample(level, x, y):
    x, y = x * level.shape[1] - 0.5, y * level.shape[0] - 0.5
    left, top = math.floor(x), math.floor(y)
    total = 0
    for column in (left, left + 1):
        for row in (top, top + 1):
            total = total + (1 - abs(x - column)) * (1 - abs(y - row)) * pixel(level, column, row)
    return total


def slow(value, shapes, locations, weights):
    batch, queries, heads, _, points, _ = locations.shape
    result = torch.zeros(batch, queries, heads, value.shape[-1], dtype=torch.float64)
    for b in range(batch):
        for h in range(heads):
            levels = [part[:, h].unflatten(0, shape) for part, shape in
                      zip(value[b].split([h_ * w_ for h_, w_ in shapes]), shapes)]
            for q in range(queries):
                for number, level in enumerate(levels):
                    for p in range(points):
                        x, y = locations[b, q, h, number, p].tolist()
                        result[b, q, h] += weights[b, q, h, number, p] * one_sample(level, x, y)
    return result.flatten(2)


side = st.integers(1, 6)


@settings(max_examples=20, deadline=None)
@given(shapes=st.lists(st.tuples(side, side), min_size=1, max_size=5), heads=st.integers(1, 3),
       points=st.integers(1, 3), queries=st.integers(1, 3), seed=st.integers(0, 99))
def test_equals_a_loop_over_samples(shapes, heads, points, queries, seed):
    value, locations, weights = inputs(shapes, heads=heads, points=points, queries=queries, batch=1, seed=seed,
                                       dtype=torch.float64)
    expected = slow(value, shapes, locations, weights)
    for name in IMPLEMENTATIONS:
        found = multi_scale_deformable_attention(value, shapes, locations, weights, implementation=name)
        assert found.dtype == torch.float64 and torch.allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize('name', IMPLEMENTATIONS)
@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
def test_dtypes(name, dtype, tolerance):
    shapes = [(5, 4), (2, 3)]
    value, locations, weights = inputs(shapes, dtype=dtype)
    value.requires_grad_()
    found = multi_scale_deformable_attention(value, shapes, locations, weights, implementation=name)
    expected = slow(value.detach().double(), shapes, locations, weights.double())
    assert found.dtype == dtype
    assert torch.allclose(found.double(), expected, atol=tolerance, rtol=tolerance)
    found.float().sum().backward()
    assert value.grad.dtype == dtype and value.grad.isfinite().all()


@pytest.mark.parametrize('name', IMPLEMENTATIONS)
def test_gradients(name):
    shapes = [(3, 2), (2, 2)]
    value, locations, weights = (tensor.requires_grad_() for tensor in inputs(
        shapes, batch=1, heads=1, channels=2, queries=2, dtype=torch.float64))

    def attend(*arguments):
        return multi_scale_deformable_attention(arguments[0], shapes, *arguments[1:], implementation=name)
    assert torch.autograd.gradcheck(attend, (value, locations, weights))


def test_pixel_centres_are_exact_and_the_outside_is_zero():
    value = torch.arange(6.0).view(1, 6, 1, 1)
    centre = torch.tensor([[0.5 / 3, 0.5 / 2], [2.5 / 3, 1.5 / 2], [-0.5, 0.5], [0.5, 1.5]])
    found = multi_scale_deformable_attention(value, [(2, 3)], centre.view(1, 4, 1, 1, 1, 2), torch.ones(1, 4, 1, 1, 1))
    assert torch.allclose(found.flatten(), torch.tensor([0.0, 5.0, 0.0, 0.0]), atol=1e-6)


def test_far_positions_keep_their_place_in_half_precision():
    # in float16 the location itself would be half a pixel off
    ramp = (torch.arange(1500) % 2).view(1, 1500, 1, 1)
    place = torch.tensor((1400.5) / 1500).view(1, 1, 1, 1, 1, 1)
    location = torch.cat((place, torch.full_like(place, 0.5)), -1)
    for dtype in (torch.float16, torch.bfloat16):
        found = multi_scale_deformable_attention(ramp.to(dtype), [(1, 1500)], location, torch.ones(1, 1, 1, 1, 1,
                                                                                                   dtype=dtype))
        assert found.abs().item() < 1e-2


def test_context_chooses_the_implementation(monkeypatch):
    value, locations, weights = inputs([(2, 2)])
    marked = torch.full((2, 4, 6), 7.0)
    monkeypatch.setitem(IMPLEMENTATIONS_BY_NAME, 'gather', lambda *_: marked)
    with attention_implementation('gather'):
        assert multi_scale_deformable_attention(value, [(2, 2)], locations, weights) is marked
    assert multi_scale_deformable_attention(value, [(2, 2)], locations, weights) is not marked


@pytest.mark.parametrize('shape', [(1, 1), (3, 7)])
def test_gather_equals_grid_sample(shape):
    image, points = torch.randn(2, 3, *shape), torch.rand(2, 5, 4, 2) * 2 - 0.5
    expected = torch.nn.functional.grid_sample(image, 2 * points - 1, align_corners=False)
    assert torch.allclose(bilinear_gather(image, points), expected, atol=1e-5)


def test_errors():
    value, locations, weights = inputs([(2, 2)])
    with pytest.raises(ValueError, match=r"implementation='cuda' is not one of auto, grid_sample, gather, numba"):
        multi_scale_deformable_attention(value, [(2, 2)], locations, weights, implementation='cuda')
    with pytest.raises(ValueError, match=r"implementation='fast' is not one of"), attention_implementation('fast'):
        pass
    with pytest.raises(ValueError, match=r'level_shapes \[\(2, 3\)\] have 6 tokens, value has 4'):
        multi_scale_deformable_attention(value, [(2, 3)], locations, weights)
