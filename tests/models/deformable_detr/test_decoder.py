import torch

from maskforge.models.deformable_detr.decoder import DeformableDecoderLayer, refine
from maskforge.models.deformable_detr.feature_levels import Tokens

SHAPES = ((3, 4), (2, 2))


def test_layer_order():
    torch.manual_seed(0)
    layer = DeformableDecoderLayer(16, num_heads=4, num_levels=2, num_points=2, feedforward_channels=24).eval()
    x, position, memory = torch.randn(2, 5, 16), torch.randn(2, 5, 16), torch.randn(2, 16, 16)
    tokens = Tokens(memory, memory, SHAPES, None, torch.ones(2, 2, 2))
    points = torch.rand(2, 5, 2, 2)
    attended = layer.self_attn(x + position, x + position, x)
    first = layer.self_attn_norm(x + attended)
    second = layer.cross_attn_norm(first + layer.cross_attn(first + position, value=memory, reference_points=points,
                                                            level_shapes=SHAPES))
    expected = layer.ffn_norm(second + layer.linear2(layer.linear1(second).relu()))
    assert torch.allclose(layer(x, position, points, memory, tokens), expected, atol=1e-6)


def test_fresh_matrices():
    layer = DeformableDecoderLayer(64, feedforward_channels=128)
    # queries, keys and values are one matrix of 192 x 64
    assert 0.95 * (6 / 256)**0.5 < layer.self_attn.in_proj_weight.abs().max() <= (6 / 256)**0.5
    assert 0.95 * (6 / 192)**0.5 < layer.linear1.weight.abs().max() <= (6 / 192)**0.5
    assert not layer.self_attn.in_proj_bias.any() and layer.linear1.bias.any()


def test_points_give_the_centre_and_boxes_all_sides():
    delta = torch.tensor([[[0.5, -0.5, 1.0, -1.0]]])
    point, box = torch.tensor([[[0.3, 0.6]]]), torch.tensor([[[0.3, 0.6, 0.2, 0.4]]])
    from_point = torch.cat((delta[..., :2] + point.logit(), delta[..., 2:]), -1).sigmoid()
    assert torch.allclose(refine(delta, point), from_point, atol=1e-6)
    assert torch.allclose(refine(delta, box), (delta + box.logit()).sigmoid(), atol=1e-6)


def test_refinement_starts_from_the_box_of_the_layer_before(make_random, images, samples):
    model = make_random(with_box_refine=True).eval()
    seen = []
    for layer in model.decoder.layers:
        layer.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[2]))
    with torch.no_grad():
        found = model(images)
    assert seen[0].shape[-1] == 2 and seen[1].shape == (2, 10, 4, 4)
    assert torch.equal(seen[1][:, :, 0], found.boxes_cxcywh[0])


def test_no_gradient_from_a_layers_box_to_the_one_before(make_random, images):
    model = make_random(with_box_refine=True).eval()
    model(images).boxes_cxcywh[1].sum().backward()
    assert not any(p.grad.any() for p in model.heads.box[0].parameters())
    assert all(p.grad.any() for p in model.heads.box[1].parameters())
