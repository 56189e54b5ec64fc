"""Attention, rotations and position codes against direct formulas."""
import math

import pytest
import torch
from torch.nn import functional as F

from maskforge.models.sam2 import attention
from maskforge.models.sam2.attention import RotaryAttention, attend
from maskforge.models.sam2.position_encoding import distance_code, rotate, rotation_table, sine_map

CPU = torch.device('cpu')


def test_rotation_is_that_of_complex_numbers():
    """Pairs of neighbouring channels are complex numbers; the first half of them turns with x, the second with y."""
    height, width, channels = 3, 5, 16
    x = torch.randn(2, height * width, channels)
    turned = rotate(x, rotation_table(channels, height, width, CPU))
    place = torch.arange(height * width)
    frequency = 10000. ** (-torch.arange(0, channels, 4) / channels)
    angle = torch.cat([(place % width)[:, None] * frequency, (place // width)[:, None] * frequency], -1)
    wanted = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * torch.polar(torch.ones_like(angle), angle)
    assert torch.allclose(turned, torch.view_as_real(wanted).flatten(-2), atol=1e-6)
    assert rotate(x.bfloat16(), rotation_table(channels, height, width, CPU)).dtype == torch.bfloat16


def test_keys_of_several_maps_turn_alike_and_pointers_do_not():
    layer = RotaryAttention(16, memory_dims=8).eval()
    table = rotation_table(16, 2, 3, CPU)
    query, memory = torch.randn(2, 6, 16), torch.randn(2, 2 * 6 + 4, 8)
    q, k, v = layer.q_proj(query), layer.k_proj(memory), layer.v_proj(memory)
    k = torch.cat([rotate(k[:, :6], table), rotate(k[:, 6:12], table), k[:, 12:]], 1)
    wanted = layer.out_proj(torch.softmax(rotate(q, table) @ k.transpose(1, 2) / 4, -1) @ v)
    assert torch.allclose(layer(query, memory, memory, table=table, unplaced=4), wanted, atol=1e-6)
    only_pointers = layer(query, memory[:, :4], memory[:, :4], table=table, unplaced=4)
    assert only_pointers.shape == query.shape


def test_distances_are_sines_then_cosines():
    code = distance_code(torch.tensor([-0.5, 1.]), 8)
    frequency = [1., 1., 10000**-0.5, 10000**-0.5]
    assert torch.allclose(code[0], torch.tensor([math.sin(-0.5 * f) for f in frequency]
                                                + [math.cos(-0.5 * f) for f in frequency]))


def test_codes_are_kept_per_size():
    assert sine_map(8, 2, 3, CPU) is sine_map(8, 2, 3, CPU)
    assert sine_map(8, 2, 3, CPU).shape == (1, 8, 2, 3) != sine_map(8, 3, 2, CPU).shape
    assert not sine_map(8, 5, 3, CPU).is_inference()


def drawn():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 1, size, 8, generator=generator).requires_grad_() for size in (40, 60, 60)]


@pytest.mark.parametrize('chunk', [2**22, 2 * 60 * 7, 1])
def test_dropout_by_chunks_is_dropout_on_the_weights(chunk, monkeypatch):
    """With the masks of dropout known, outputs and gradients equal the formula's."""
    monkeypatch.setattr(attention, 'CHUNK_WEIGHTS', chunk)
    q, k, v = drawn()
    torch.manual_seed(3)
    found = attend(q, k, v, dropout=0.3)
    found.square().sum().backward()
    gradients = [x.grad for x in (q, k, v)]

    rows = max(chunk // (2 * 60), 1)
    torch.manual_seed(3)
    kept = torch.cat([F.dropout(torch.ones(2, 1, len(part), 60), 0.3) for part in torch.arange(40).split(rows)], 2)
    q, k, v = drawn()
    wanted = (torch.softmax(q @ k.transpose(-2, -1) / 8**0.5, -1) * kept) @ v
    wanted.square().sum().backward()
    assert torch.allclose(found, wanted, atol=1e-5)
    assert all(torch.allclose(a, b.grad, atol=1e-4) for a, b in zip(gradients, (q, k, v)))


def test_no_weights_are_kept_for_the_backward_pass():
    q, k, v = drawn()
    kept = []

    def keep(tensor):
        kept.append(tensor.shape[-2:])
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        attend(q, k, v, dropout=0.3)
    assert (40, 60) not in kept


def test_without_dropout_it_is_torch_s():
    q, k, v = drawn()
    assert torch.equal(attend(q, k, v), F.scaled_dot_product_attention(q, k, v))


@pytest.mark.parametrize('dropout', [0., 0.4])
@pytest.mark.parametrize('train', [False, True])
def test_values_may_be_projected_after_they_were_gathered(train, dropout):
    """With the same masks of dropout as a projection before has; a query of one row stands for all."""
    layer = RotaryAttention(16, memory_dims=6, dropout=dropout).train(train)
    table = rotation_table(16, 2, 3, CPU)
    query, key, value = torch.randn(1, 6, 16), torch.randn(2, 14, 6), torch.randn(2, 14, 6)
    torch.manual_seed(3)
    found = layer(query, key, value, table=table, unplaced=2)
    q, k = rotate(layer.q_proj(query), table), layer.k_proj(key)
    k = torch.cat([rotate(k[:, :6], table), rotate(k[:, 6:12], table), k[:, 12:]], 1)
    torch.manual_seed(3)
    weights = F.dropout((q @ k.transpose(1, 2) / 4).softmax(-1)[:, None], dropout, train)[:, 0]
    assert torch.allclose(found, layer.out_proj(weights @ layer.v_proj(value)), atol=1e-6)
    found.sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())
