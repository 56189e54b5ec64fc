import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskforge.models.mask2former.pixel_decoder import PixelDecoder

CHANNELS = (4, 8, 12, 16)


def features() -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(2, channels, 32 // 2**k, 24 // 2**k) for k, channels in enumerate(CHANNELS)]


def decoder(**options) -> PixelDecoder:
    torch.manual_seed(0)
    return PixelDecoder(CHANNELS, **{**dict(hidden_dim=32, mask_dim=8, num_heads=4, num_layers=2,
                                            feedforward_channels=48), **options})


def test_shapes():
    masks, memory = decoder()(features())
    assert masks.shape == (2, 8, 32, 24)
    assert [level.shape[1:] for level in memory] == [(32, 4, 3), (32, 8, 6), (32, 16, 12)]


def test_pyramid_by_hand():
    net, levels = decoder(), features()
    masks, memory = net(levels)
    lateral = F.group_norm(F.conv2d(levels[0], net.lateral.conv.weight), 32, net.lateral.norm.weight,
                           net.lateral.norm.bias)
    joined = lateral + F.interpolate(memory[-1], (32, 24), mode='bilinear', align_corners=False)
    out = F.group_norm(F.conv2d(joined, net.output.conv.weight, padding=1), 32).relu()
    assert torch.allclose(masks, net.mask_features(out), atol=1e-5)
    assert net.lateral.conv.bias is None


def test_level_codes_reach_the_queries():
    net, levels = decoder(), features()
    with torch.no_grad():
        net.encoder.layers[0].self_attn.sampling_offsets.weight.normal_()
        before = net(levels)[1][0]
        net.level_embed += 1
        assert not torch.allclose(before, net(levels)[1][0])


@pytest.mark.parametrize('norm, kind', [('GN', nn.GroupNorm), ('SyncBN', nn.SyncBatchNorm), ('', nn.Identity)])
def test_norms(norm, kind):
    net = decoder(norm=norm)
    assert isinstance(net.lateral.norm, kind) and isinstance(net.output.norm, kind)
    assert (net.lateral.conv.bias is None) == bool(norm)


def test_layer_norm_is_per_pixel():
    found = decoder(norm='LN').eval().lateral(features()[0])
    assert found.mean(1).abs().max() < 1e-5 and (found.var(1, correction=0) - 1).abs().max() < 1e-3


def test_an_unknown_norm():
    with pytest.raises(ValueError, match="head_norm='BN2' is not one of 'GN', 'SyncBN', 'LN', ''"):
        decoder(norm='BN2')
