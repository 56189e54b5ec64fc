"""The trunk's blocks against timm's."""
import copy

import pytest
import torch
from timm.models.hieradet_sam2 import MultiScaleBlock

from maskforge.models.sam2 import hiera_strips
from maskforge.models.sam2.hiera_block import HieraBlock, from_windows, to_windows

OPTIONS = [dict(window_size=4), dict(window_size=0), dict(window_size=4, dim_out=16, q_stride=(2, 2)),
           dict(window_size=4, dim_out=16)]


@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize('size', [(8, 8), (8, 12), (6, 10)])
@pytest.mark.parametrize('options', OPTIONS)
def test_outputs_and_gradients_equal_timm_s(options, size, fused):
    torch.manual_seed(0)
    block = MultiScaleBlock(**{**dict(dim=8, dim_out=8, num_heads=2), **options}).eval()
    ours = HieraBlock(copy.deepcopy(block))
    block.attn.fused_attn = ours.attn.fused_attn = fused
    assert block.state_dict().keys() == ours.state_dict().keys()
    results = []
    for side in (block, ours):
        x = torch.randn(2, *size, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
        found = side(x)
        found.square().sum().backward()
        results.append([found, x.grad, *(parameter.grad for _, parameter in sorted(side.named_parameters()))])
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(*results))


@pytest.mark.parametrize('limit', [1, 2**11])
@pytest.mark.parametrize('size', [(8, 8), (8, 12), (6, 10), (2, 2)])
@pytest.mark.parametrize('options', OPTIONS)
def test_without_gradients_strips_equal_timm_s(options, size, limit, monkeypatch):
    monkeypatch.setattr(hiera_strips, 'STRIP_PLACES', limit)
    torch.manual_seed(0)
    block = MultiScaleBlock(**{**dict(dim=8, dim_out=8, num_heads=2), **options}).eval()
    ours = HieraBlock(copy.deepcopy(block))
    x = torch.randn(2, *size, 8)
    with torch.no_grad():
        assert torch.allclose(ours(x), block(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('size', [(4, 6), (5, 7), (3, 2)])
def test_windows_and_back(size):
    x, filler = torch.randn(2, *size, 3), torch.full((3,), 9.)
    windows = to_windows(x, (2, 3), filler)
    rows, columns = -(-size[0] // 2), -(-size[1] // 3)
    assert windows.shape == (2 * rows * columns, 2, 3, 3)
    assert torch.equal(windows[0], torch.nn.functional.pad(x[0], (0, 0, 0, 1), value=9.)[:2, :3])
    assert (windows == 9).sum() == 2 * 3 * (rows * 2 * columns * 3 - size[0] * size[1])
    assert torch.equal(from_windows(windows, size), x)
