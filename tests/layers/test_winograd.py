"""Convolutions by linear maps."""
import pytest
import torch
from torch import nn

from maskforge.layers import winograd
from maskforge.layers.linear import _HAS_ONEDNN
from maskforge.layers.winograd import convolve


@pytest.fixture(autouse=True)
def small_maps(monkeypatch):
    monkeypatch.setattr(winograd, 'LEAST_PIXELS', 16)


def conv_of(kernel_size, *, bias=True, **options):
    torch.manual_seed(0)
    return nn.Conv2d(64, 80, kernel_size, padding=kernel_size // 2, bias=bias, **options)


@pytest.mark.parametrize('kernel_size', [1, 3])
@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('size', [(4, 4), (36, 8), (6, 4)])  # the second in several parts, the last in no whole tiles
def test_same_numbers_and_gradients_as_torch_s(kernel_size, bias, size):
    conv = conv_of(kernel_size, bias=bias)
    x = torch.randn(2, 64, *size, requires_grad=True)
    factors = torch.randn(2, 80, *size)
    inputs = (x, *conv.parameters())
    results = [(y, *torch.autograd.grad((y * factors).sum(), inputs)) for y in (convolve(conv, x), conv(x))]
    for one, other in zip(*results):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(convolve(conv, x.contiguous(memory_format=torch.channels_last)), results[1][0],
                                   rtol=1e-4, atol=1e-4)


def test_rounding_stays_near_that_of_the_whole_sum():
    torch.manual_seed(0)
    conv = nn.Conv2d(256, 256, 3, padding=1, bias=False)
    x = torch.randn(1, 256, 16, 24)
    exact = torch.nn.functional.conv2d(x.double(), conv.weight.double(), padding=1)
    ours, theirs = ((y - exact).abs().max() for y in (convolve(conv, x), conv(x)))
    assert ours < 20 * theirs


def test_gradients_of_gradients():
    conv, x = conv_of(3), torch.randn(1, 64, 4, 4, requires_grad=True)

    def penalty(y):
        slope, = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().mean(), (x, conv.weight))
    for one, other in zip(penalty(convolve(conv, x)), penalty(conv(x))):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(not _HAS_ONEDNN, reason='linear maps do not run on oneDNN here')
@pytest.mark.parametrize('options, direct', [
    (dict(kernel_size=3), True), (dict(kernel_size=1), True), (dict(kernel_size=5), False),
    (dict(kernel_size=3, stride=2), False), (dict(kernel_size=3, dilation=2), False),
    (dict(kernel_size=3, groups=2), False), (dict(kernel_size=3, padding_mode='reflect'), False),
])
def test_other_convolutions_are_torch_s(options, direct):
    conv, called = conv_of(**options), []
    conv.register_forward_hook(lambda *_: called.append(True))
    wanted = conv(x := torch.randn(1, 64, 8, 8))
    called.clear()
    torch.testing.assert_close(convolve(conv, x), wanted, rtol=1e-4, atol=1e-5)
    assert bool(called) != direct
    assert convolve(conv.double(), x.double()).dtype == torch.float64


def test_a_part_is_as_many_rows_as_fit(monkeypatch):
    conv, x = conv_of(3), torch.randn(1, 64, 20, 4)
    whole = convolve(conv, x)
    monkeypatch.setattr(winograd, 'ROWS', 2)
    torch.testing.assert_close(convolve(conv, x), whole, rtol=1e-5, atol=1e-5)


def test_small_maps_are_torch_s(monkeypatch):
    monkeypatch.setattr(winograd, 'LEAST_PIXELS', 17)
    conv, x = conv_of(3), torch.randn(1, 64, 4, 4)
    assert torch.equal(convolve(conv, x), conv(x))
