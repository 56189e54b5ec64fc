"""Convolutions of single pixels as linear maps."""
import pytest
import torch
from torch import nn

from maskforge.layers.linear import _HAS_ONEDNN
from maskforge.layers.pointwise import convolve


@pytest.mark.parametrize('kernel_size', [1, 3])
@pytest.mark.parametrize('bias', [True, False])
def test_same_numbers_and_gradients_as_torch_s(kernel_size, bias):
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 8, kernel_size, padding=kernel_size // 2, bias=bias)
    x, factors = torch.randn(2, 6, 5, 4, requires_grad=True), torch.randn(2, 8, 5, 4)
    inputs = (x, *conv.parameters())
    results = [(y, *torch.autograd.grad((y * factors).sum(), inputs)) for y in (convolve(conv, x), conv(x))]
    for one, other in zip(*results):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        last = x.contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(convolve(conv, last), results[1][0], rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not _HAS_ONEDNN, reason='linear maps do not run on oneDNN here')
@pytest.mark.parametrize(('options', 'direct'), [
    (dict(kernel_size=1), True), (dict(kernel_size=3), False), (dict(kernel_size=1, stride=2), False),
    (dict(kernel_size=1, padding=1), False), (dict(kernel_size=1, groups=2), False)])
def test_other_convolutions_are_torch_s(options, direct):
    conv, called = nn.Conv2d(4, 8, **options), []
    conv.register_forward_hook(lambda *_: called.append(True))
    wanted = conv(x := torch.randn(1, 4, 8, 8))
    called.clear()
    torch.testing.assert_close(convolve(conv, x), wanted, rtol=1e-5, atol=1e-5)
    assert bool(called) != direct
    assert convolve(conv.double(), x.double()).dtype == torch.float64
