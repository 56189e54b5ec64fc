"""The heads against their formulas in float64."""
import pytest
import torch
from torch.nn import functional as F

from maskforge.models.mal.heads import KeyHead, ValueHead, dot_product


def upsample(x):
    """Bilinear doubling: every new centre lies a quarter pixel beside an old one."""
    for dim in (2, 3):
        index = torch.arange(x.shape[dim])
        before, after = (x.index_select(dim, (index + step).clamp(0, len(index) - 1)) for step in (-1, 1))
        x = torch.stack((0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after), dim + 1).flatten(dim, dim + 1)
    return x


@torch.no_grad()
def test_keys():
    head = KeyHead(6, 4)
    p, x = {k: v.double() for k, v in head.state_dict().items()}, torch.randn(2, 6, 3, 5)
    hidden = (x.double().sum((2, 3)) / 15 @ p['mlp1.weight'].T + p['mlp1.bias']).clamp(min=0)
    torch.testing.assert_close(head(x).double(), hidden @ p['mlp2.weight'].T + p['mlp2.bias'], atol=1e-5, rtol=0)


@pytest.mark.parametrize(('num_convs', 'before'), [(1, 0), (2, 1), (4, 3), (6, 3)])
@torch.no_grad()
def test_values(num_convs, before):
    torch.manual_seed(0)
    head = ValueHead(6, 5, 4, num_convs)
    x = torch.randn(2, 6, 4, 3)
    expected = x.double()
    for i, conv in enumerate(head.convs):
        torch.nn.init.normal_(conv.conv.bias)
        expected = upsample(expected) if i == before else expected
        expected = F.conv2d(expected, conv.conv.weight.double(), conv.conv.bias.double(), padding=1).clamp(min=0)
    assert head(x).shape == (2, 4, 8, 6)
    torch.testing.assert_close(head(x).double(), expected, atol=1e-4, rtol=1e-4)


def test_names_shapes_and_counts():
    key, value = KeyHead(768, 256), ValueHead(768, 256, 256, 4)
    assert {k: tuple(v.shape) for k, v in key.state_dict().items()} == {
        'mlp1.weight': (256, 768), 'mlp1.bias': (256,), 'mlp2.weight': (256, 256), 'mlp2.bias': (256,)}
    assert set(value.state_dict()) == {f'convs.{i}.conv.{kind}' for i in range(4) for kind in ('weight', 'bias')}
    assert sum(p.numel() for p in key.parameters()) == 262_656
    assert sum(p.numel() for p in value.parameters()) == 3_539_968


def test_initial_values():
    conv = ValueHead(64, 128, 256, 4).convs[1].conv
    assert not conv.bias.any()
    assert conv.weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)  # fan out, ReLU


def test_dot_product_is_float32_under_autocast():
    keys, values = torch.randn(2, 256), torch.randn(2, 256, 3, 4)
    expected = (keys[:, :, None, None].double() * values.double()).sum(1)
    with torch.autocast('cpu', torch.bfloat16):
        found = dot_product(keys, values)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-5)


def test_no_convolution():
    with pytest.raises(ValueError, match='mask_head_num_convs must be at least 1, got 0'):
        ValueHead(8, 8, 8, 0)
