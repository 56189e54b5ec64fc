"""Gathers into windows and back give what padding, rolling and cutting give."""
from functools import partial

import pytest
import torch

from maskforge.backbones.swin import SwinTransformer, _shift_mask, _window_attention
from maskforge.backbones.swin_windows import attend_in_windows, window_order


def blocks(window, **options):
    torch.manual_seed(0)
    network = SwinTransformer(embed_dims=24, depths=(2, 2), num_heads=(3, 6), out_indices=(0, 1), window_size=window,
                              drop_path_rate=0., **options).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.3)
    return network.layers[0].blocks


@pytest.mark.parametrize('window, size', [(4, (8, 8)), (4, (9, 6)), (7, (3, 20)), (7, (7, 7))])
@pytest.mark.parametrize('options', [{}, dict(qkv_bias=False)], ids=['bias', 'no bias'])
def test_equals_rolled_maps(window, size, options):
    both = blocks(window, **options)
    x = torch.randn(2, *size, 24, dtype=torch.double, requires_grad=True)
    rolled = partial(_window_attention, mask=_shift_mask(both, x))
    for block in both:
        inputs = [x, *block.attn.parameters()]
        results = []
        for attend in (attend_in_windows, rolled):
            found = attend(block, x)
            results.append([found, *torch.autograd.grad(found, inputs, found.detach().cos())])
        with torch.no_grad():
            results[0].append(attend_in_windows(block, x))  # fused
        results[1].append(results[1][0])
        for mine, wanted in zip(*results):
            torch.testing.assert_close(mine, wanted, atol=1e-12, rtol=1e-10)


def test_every_token_has_one_place():
    order = window_order((5, 6), (4, 4), (2, 2), torch.device('cpu'))
    assert order.tokens[order.places].tolist() == list(range(30))
    assert sorted([*order.places.tolist(), *order.padding.tolist()]) == list(range(64))
    # the first place of a rolled map is the token at (2, 2)
    assert order.tokens[0] == 2 * 6 + 2 and order.mask.shape == (4, 1, 16, 16) and not order.mask[0].any()
    assert window_order((8, 8), (4, 4), (0, 0), torch.device('cpu')).mask is None


def test_what_was_made_without_gradients_serves_training():
    block = blocks(4)[1]
    window_order.cache_clear()
    with torch.inference_mode():
        attend_in_windows(block, torch.zeros(1, 8, 8, 24, dtype=torch.double))
    attend_in_windows(block, torch.zeros(1, 8, 8, 24, dtype=torch.double)).sum().backward()
    assert block.attn.qkv.bias.grad is not None
