"""Convolutions on CPUs by linear maps over pixels, 3x3 by the minimal filters F(4x4, 3x3) of Winograd.

A tile of 4x4 pixels of the result takes 36 products of channels instead of 144; the rest are sums (Lavin and Gray, CVPR
2016, section 4). Rounding is several times that of the sum of all products.

Legend: C and K channels of image and result, R rows of tiles, T tiles in a row.
"""
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .linear import goes_direct, linear

#: side of a tile of the result, and of what it is made of
TILE, SOURCE = 4, 6
#: polynomials are compared at 0, at plus and minus these, and at infinity, which rounds less than at 1 and 2
NEAR, FAR = 0.5**0.5, 2**0.5
#: rows of tiles that are computed together; they and their products stay in a processor's caches
ROWS = 8
#: with fewer channels the sums cost more than the products, with fewer pixels the transformation of the kernels does
LEAST_CHANNELS, LEAST_PIXELS = 64, 2048


def convolve(conv: nn.Conv2d, x: Float[Tensor, 'B C H W']) -> Float[Tensor, 'B K _ _']:
    """Return what ``conv`` makes of ``x``; on a CPU, where 1x1 or 3x3 kernels keep the size, mostly channels last."""
    if not (conv.stride == (1, 1) and conv.dilation == (1, 1) and conv.groups == 1 and conv.padding_mode == 'zeros'
            and goes_direct(x, conv.weight)):
        return conv(x)
    kind = (conv.kernel_size, conv.padding)
    if kind == ((1, 1), (0, 0)):
        found = linear(_pixels(x), conv.weight.flatten(1), conv.bias)
    elif kind == ((3, 3), (1, 1)) and _in_tiles(x, conv.weight):
        found = _by_tiles(_pixels(x), conv.weight)
        found = found if conv.bias is None else found + conv.bias
    else:
        return conv(x.contiguous())  # channels last, oneDNN's own rounds twice as much
    return found.permute(0, 3, 1, 2)


def _pixels(x: Float[Tensor, 'B C H W']) -> Float[Tensor, 'B H W C']:
    return x.permute(0, 2, 3, 1).contiguous()


def _in_tiles(x: Tensor, weight: Tensor) -> bool:
    return (min(weight.shape[:2]) >= LEAST_CHANNELS and len(x) * x.shape[-2] * x.shape[-1] >= LEAST_PIXELS
            and not any(side % TILE for side in x.shape[-2:]))


def _by_tiles(x: Float[Tensor, 'B H W C'], weight: Float[Tensor, 'K C 3 3']) -> Float[Tensor, 'B H W K']:
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _ByTiles.apply(x, weight)
    kernels = _transform_kernels(weight)
    found = x.new_empty(*x.shape[:3], len(weight))
    for image, result in zip(x, found):
        _filter(image, kernels, result)
    return found


class _ByTiles(torch.autograd.Function):
    """The gradient of the image is such a convolution, too."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _by_tiles(x, weight)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = _by_tiles(gradient.contiguous(), weight.flip(2, 3).transpose(0, 1))
        if ctx.needs_input_grad[1]:
            _, of_weight, _ = torch.ops.aten.convolution_backward(
                gradient.permute(0, 3, 1, 2), x.permute(0, 3, 1, 2), weight, None, [1, 1], [1, 1], [1, 1], False,
                [0, 0], 1, [False, True, False])
        return of_x, of_weight


def _transform_kernels(weight: Float[Tensor, 'K C 3 3']) -> list[Float[Tensor, 'K C']]:
    """The kernels of the 36 products, by the source's column, then by its row."""
    places = (NEAR, -NEAR, FAR, -FAR)
    sides = weight.new_tensor([
        [1, 0, 0], *([1 / share, place / share, place**2 / share] for place, share in zip(places, (-1.5, -1.5, 6, 6))),
        [0, 0, 1]])
    return list(torch.einsum('jb,kcab,ia->jikc', sides, weight, sides).flatten(0, 1).contiguous())


def _filter(image: Float[Tensor, 'H W C'], kernels: Sequence[Float[Tensor, 'K C']],
            result: Float[Tensor, 'H W K']) -> None:
    """Write the convolution of one image, a few rows of tiles at a time."""
    height, width, channels = image.shape
    padded, tiles = F.pad(image, (0, 0, 1, 1, 1, 1)), width // TILE
    of_rows = image.new_empty(SOURCE, ROWS, width + 2, channels)
    places = image.new_empty(SOURCE, SOURCE, ROWS, tiles, channels)
    columns = image.new_empty(TILE, SOURCE, ROWS, tiles, len(kernels[0]))
    for start in range(0, height, TILE * ROWS):
        stop = min(start + TILE * ROWS, height)
        rows = (stop - start) // TILE
        _spread(padded[start:stop + 2].unfold(0, SOURCE, TILE).unbind(-1), of_rows[:, :rows])
        _spread(of_rows[:, :rows].unfold(2, SOURCE, TILE).unbind(-1), places[:, :, :rows])
        products = [linear(place[:rows], kernel) for place, kernel in zip(places.flatten(0, 1), kernels)]
        for row in range(SOURCE):
            _collect(products[row::SOURCE], columns[:, row, :rows])
        of_tiles = result[start:stop].unflatten(0, (-1, TILE)).transpose(0, 1)
        for number, column in enumerate(columns):
            _collect(column[:, :rows], of_tiles[:, :, number::TILE])


def _spread(parts: Sequence[Tensor], to: Sequence[Tensor]) -> None:
    """Along one axis, from the six places of a source to its six sums."""
    torch.sub(parts[0] + parts[4], parts[2], alpha=2.5, out=to[0])
    even, odd = torch.sub(parts[4], parts[2], alpha=2), torch.sub(parts[3], parts[1], alpha=2)
    torch.add(even, odd, alpha=NEAR, out=to[1])
    torch.sub(even, odd, alpha=NEAR, out=to[2])
    torch.sub(parts[4], parts[2], alpha=0.5, out=even), torch.sub(parts[3], parts[1], alpha=0.5, out=odd)
    torch.add(even, odd, alpha=FAR, out=to[3])
    torch.sub(even, odd, alpha=FAR, out=to[4])
    torch.sub(parts[1] + parts[5], parts[3], alpha=2.5, out=to[5])


def _collect(parts: Sequence[Tensor], to: Sequence[Tensor]) -> None:
    """Along one axis, from the six products of a source to the four pixels of its tile."""
    near, far = parts[1] + parts[2], parts[3] + parts[4]
    torch.add(near, far, out=to[0]).add_(parts[0])
    torch.add(near.mul_(0.5), far, alpha=2, out=to[2])
    near, far = torch.sub(parts[1], parts[2], out=near).mul_(NEAR), torch.sub(parts[3], parts[4], out=far)
    torch.add(near, far, alpha=FAR, out=to[1])
    torch.add(parts[5], near, alpha=0.5, out=to[3]).add_(far, alpha=2 * FAR)
