import math

import pytest
import torch

from maskforge.layers import MultiScaleDeformableAttention
from maskforge.layers.multi_scale_deformable_attention import size_tensor, softmax_of_few
from maskforge.ops import multi_scale_deformable_attention

SHAPES = [(3, 4), (2, 2)]


@pytest.fixture
def layer():
    torch.manual_seed(0)
    module = MultiScaleDeformableAttention(16, 4, 2, 3)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return module


def inputs(coordinates):
    torch.manual_seed(1)
    return dict(query=torch.randn(2, 5, 16), value=torch.randn(2, 16, 16),
                reference_points=torch.rand(2, 5, 2, coordinates), level_shapes=SHAPES)


def test_initial_offsets_look_around():
    module = MultiScaleDeformableAttention(256, 8, 4, 4)
    grid = module.sampling_offsets.bias.view(8, 4, 4, 2)
    expected = {0: (1, 0), 1: (1, 1), 2: (0, 1), 3: (-1, 1), 4: (-1, 0), 6: (0, -1), 7: (1, -1)}
    for head, direction in expected.items():
        for point in range(4):
            wanted = torch.tensor(direction, dtype=torch.float32) * (point + 1)
            assert torch.allclose(grid[head, :, point], wanted.expand(4, 2), atol=1e-5)
    assert not module.sampling_offsets.weight.any()
    assert not module.attention_weights.weight.any() and not module.attention_weights.bias.any()
    for projection in (module.value_proj, module.output_proj):
        bound = math.sqrt(6 / 512)
        assert 0.9 * bound < projection.weight.abs().max() <= bound and not projection.bias.any()


@pytest.mark.parametrize('coordinates', [2, 4])
def test_formula(layer, coordinates):
    given = inputs(coordinates)
    reference = given['reference_points'][:, :, None, :, None]
    offsets = layer.sampling_offsets(given['query']).view(2, 5, 4, 2, 3, 2)
    if coordinates == 2:
        locations = reference + offsets / torch.tensor([[4.0, 3.0], [2.0, 2.0]])[:, None]
    else:
        locations = reference[..., :2] + offsets / 3 * reference[..., 2:] / 2
    weights = layer.attention_weights(given['query']).view(2, 5, 4, 6).softmax(-1).view(2, 5, 4, 2, 3)
    value = layer.value_proj(given['value']).view(2, 16, 4, 4)
    expected = layer.output_proj(multi_scale_deformable_attention(value, SHAPES, locations, weights))
    assert torch.allclose(layer(given.pop('query'), **given), expected, atol=1e-6)


def test_padding_contributes_nothing_unless_asked_for(layer):
    given = inputs(2)
    query = given.pop('query')
    padding = torch.zeros(2, 16, dtype=torch.bool)
    padding[1, 2:] = True
    changed = {**given, 'value': given['value'].masked_fill(padding[..., None], 100.0)}
    with torch.no_grad():
        assert torch.equal(layer(query, **given, padding=padding), layer(query, **changed, padding=padding))
        assert torch.equal(layer(query, **given, padding=padding)[0], layer(query, **given)[0])
        # the bias is masked as well
        assert not torch.allclose(layer(query, **given, padding=padding)[1], layer(query, **given)[1])
        layer.mask_value = False
        assert torch.equal(layer(query, **given, padding=padding), layer(query, **given))


def test_locations_stay_float32_in_half_precision(layer, monkeypatch):
    from maskforge.layers import multi_scale_deformable_attention as module
    seen = []
    monkeypatch.setattr(module, 'multi_scale_deformable_attention',
                        lambda value, shapes, locations, weights: seen.append((value.dtype, locations.dtype))
                        or value[:, :5].flatten(2))
    given = inputs(2)
    given['value'], query = given['value'].bfloat16(), given.pop('query').bfloat16()
    layer.bfloat16()(query, **given)
    assert seen == [(torch.bfloat16, torch.float32)]


def test_autocast_trains(layer):
    given = inputs(4)
    with torch.autocast('cpu', torch.bfloat16):
        loss = layer(given.pop('query'), **given).float().square().mean()
    loss.backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in layer.parameters())


def test_channels_that_heads_do_not_divide():
    with pytest.raises(ValueError, match='30 channels cannot be divided among 4 attention heads'):
        MultiScaleDeformableAttention(30, 4)


def test_size_tensor():
    assert size_tensor(SHAPES, torch.zeros(1)).tolist() == [[4.0, 3.0], [2.0, 2.0]]


def test_softmax_of_few():
    logits = (torch.randn(3, 4, 12) * 30).requires_grad_()
    logits.data[0, 0] += 1000
    for outer in (torch.ones(()), torch.randn(3, 4, 12)):
        both = []
        for values in (softmax_of_few(logits), logits.softmax(-1)):
            both.append((values, *torch.autograd.grad((values * outer).sum(), logits)))
        torch.testing.assert_close(*both)
    assert softmax_of_few(torch.full((1, 2), math.nan)).isnan().all()
