"""Resampled position embeddings: timm's form, and the released weights' form by its own formula."""
import math

import pytest
import torch

from maskforge.backbones.position_embedding import resample_position_embedding


def cubic(x, a=-0.75):
    """PyTorch's bicubic kernel (Keys 1981)."""
    x = abs(x)
    if x <= 1:
        return (a + 2) * x ** 3 - (a + 3) * x ** 2 + 1
    return a * x ** 3 - 5 * a * x ** 2 + 8 * a * x - 4 * a if x < 2 else 0.0


def bicubic_matrix(size, side, factor):
    """(size, side): each output's weights; its centre lies at (i + 1/2) / factor - 1/2."""
    weights = torch.zeros(size, side, dtype=torch.float64)
    for i in range(size):
        centre = (i + 0.5) / factor - 0.5
        for j in range(math.floor(centre) - 1, math.floor(centre) + 3):
            weights[i, min(max(j, 0), side - 1)] += cubic(centre - j)
    return weights


@pytest.mark.parametrize('grid', [(32, 32), (20, 7), (3, 5)])
def test_scale_form_uses_the_factor_with_a_tenth_added(grid):
    torch.manual_seed(0)
    embedding = torch.randn(1, 1 + 14 * 14, 6)
    rows, columns = (bicubic_matrix(size, 14, (size + 0.1) / 14) for size in grid)
    planes = embedding[0, 1:].double().reshape(14, 14, 6)
    expected = torch.einsum('iy,jx,yxd->ijd', rows, columns, planes).reshape(-1, 6)
    found = resample_position_embedding(embedding, grid, form='scale')
    torch.testing.assert_close(found[0, 1:].double(), expected, atol=1e-4, rtol=0)
    assert torch.equal(found[:, :1], embedding[:, :1])


@pytest.mark.parametrize('grid', [(32, 32), (20, 7), (3, 5)])
def test_size_form_is_timms(grid):
    from timm.layers import resample_abs_pos_embed
    torch.manual_seed(0)
    embedding = torch.randn(1, 1 + 14 * 14, 6)
    expected = resample_abs_pos_embed(embedding, grid, num_prefix_tokens=1)
    torch.testing.assert_close(resample_position_embedding(embedding, grid), expected, atol=1e-6, rtol=0)


def test_the_forms_differ_by_about_a_third_of_the_deviation():
    torch.manual_seed(0)
    embedding = torch.randn(1, 1 + 14 * 14, 64)
    found = [resample_position_embedding(embedding, (32, 32), form=form) for form in ('size', 'scale')]
    assert 0.15 < (found[0] - found[1]).abs().max() < 1.5
    assert (found[0] - found[1]).abs().mean() < 0.1


@pytest.mark.parametrize('form', ['size', 'scale'])
def test_own_grid_is_left_alone(form):
    embedding = torch.randn(1, 1 + 4 * 4, 6)
    assert resample_position_embedding(embedding, (4, 4), form=form) is embedding


@pytest.mark.parametrize(('entries', 'form', 'message'), [
    (17, 'nearest', "form='nearest' is not one of size, scale"),
    (18, 'size', '17 entries beside the class token are not a square grid'),
])
def test_errors(entries, form, message):
    with pytest.raises(ValueError, match=message):
        resample_position_embedding(torch.zeros(1, entries, 2), (8, 8), form=form)
