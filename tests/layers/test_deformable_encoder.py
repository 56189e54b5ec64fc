import pytest
import torch

from maskforge.layers import DeformableEncoder, DeformableEncoderLayer
from maskforge.layers.deformable_encoder import encoder_reference_points, token_centres, valid_ratios

SHAPES = [(3, 4), (2, 2), (1, 1)]
TOKENS = 17


def inputs(seed=0):
    torch.manual_seed(seed)
    return torch.randn(2, TOKENS, 16), torch.randn(2, TOKENS, 16)


def encoder(**options):
    torch.manual_seed(0)
    module = DeformableEncoder(2, embed_dims=16, num_heads=4, num_levels=3, num_points=2, feedforward_channels=24,
                               **options)
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1 and 'self_attn' in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return module


def run(module, x, position, padding=None):
    return module(x, position, SHAPES, valid_ratios=torch.ones(2, 3, 2), padding=padding)


def test_layer_order():
    torch.manual_seed(0)
    layer = DeformableEncoderLayer(16, num_heads=4, num_levels=3, num_points=2, feedforward_channels=24).eval()
    x, position = inputs()
    points = encoder_reference_points(SHAPES, torch.ones(2, 3, 2))
    attended = layer.self_attn(x + position, value=x, reference_points=points, level_shapes=SHAPES)
    first = layer.norm1(x + attended)
    expected = layer.norm2(first + layer.linear2(layer.linear1(first).relu()))
    assert torch.allclose(layer(x, position, points, SHAPES, None), expected, atol=1e-6)
    assert layer.linear1.weight.abs().max() <= (6 / 40)**0.5 + 1e-6


def test_dropout_is_used_in_training_alone():
    module, (x, position) = encoder(dropout=0.5), inputs()
    assert not torch.equal(run(module, x, position), run(module, x, position))
    module.eval()
    assert torch.equal(run(module, x, position), run(module, x, position))


def test_activation_checkpoint_changes_memory_and_not_numbers():
    x, position = inputs()
    saved, results = [], []
    for recompute in (False, True):
        module = encoder(dropout=0.0, activation_checkpoint=recompute)
        given = x.clone().requires_grad_()
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, kept=kept: kept.append(t.numel()) or t, lambda t: t):
            result = run(module, given, position)
        result.square().sum().backward()
        saved.append(sum(kept))
        results.append((result, given.grad, module.layers[0].linear1.weight.grad))
    assert all(torch.equal(a, b) for a, b in zip(*results))
    assert saved[1] < saved[0] / 3


def test_reference_points_are_the_tokens_places_in_every_level():
    ratios = torch.tensor([[[1.0, 1.0]] * 3, [[0.5, 1.0], [0.5, 1.0], [1.0, 1.0]]])
    points = encoder_reference_points(SHAPES, ratios)
    assert points.shape == (2, TOKENS, 3, 2)
    # first image, token (row 1, column 2) of level 0
    assert torch.allclose(points[0, 6], torch.tensor([2.5 / 4, 1.5 / 3]).expand(3, 2))
    # second: half the width is padding, so column 0 of 2 valid ones lies at a quarter of the image
    assert torch.allclose(points[1, 0, :, 0], torch.tensor([0.125, 0.125, 0.25]))


def test_token_centres():
    assert token_centres([(2, 2)], torch.zeros(1))[0].tolist() == [[0.5, 0.5], [1.5, 0.5], [0.5, 1.5], [1.5, 1.5]]


def test_valid_ratios():
    mask = torch.zeros(2, 4, 5, dtype=torch.bool)
    mask[1, :, 4:], mask[1, 1:] = True, True
    assert torch.allclose(valid_ratios([mask]), torch.tensor([[[1.0, 1.0]], [[0.8, 0.25]]]))


@pytest.mark.parametrize('mask_value', [True, False])
def test_mask_value_reaches_the_layers(mask_value):
    module, (x, position) = encoder(mask_value=mask_value).eval(), inputs()
    padding = torch.zeros(2, TOKENS, dtype=torch.bool)
    padding[0, 10:12] = True
    assert torch.equal(run(module, x, position, padding), run(module, x, position)) is not mask_value
