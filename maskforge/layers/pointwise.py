"""Convolutions of single pixels as linear maps."""
from jaxtyping import Float
from torch import Tensor, nn

from .linear import goes_direct, linear


def convolve(conv: nn.Conv2d, x: Float[Tensor, 'B C H W']) -> Float[Tensor, 'B K _ _']:
    """Return what ``conv`` makes of ``x``; on a CPU 1x1 kernels are a linear map over pixels, channels last."""
    if not goes_direct(x, conv.weight):
        return conv(x)
    single = (conv.kernel_size == (1, 1) and conv.stride == (1, 1) and conv.padding == (0, 0) and conv.groups == 1)
    if not single:
        return conv(x.contiguous())  # channels last, oneDNN's own round twice as much
    return linear(x.permute(0, 2, 3, 1).contiguous(), conv.weight.flatten(1), conv.bias).permute(0, 3, 1, 2)
