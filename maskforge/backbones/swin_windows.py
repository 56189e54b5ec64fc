"""Attention in windows (Liu et al., ICCV 2021, section 3.2) with two gathers instead of padding, rolling and cutting.

The tokens that pad a map to whole windows are zero, so all that the projection makes of them is its bias. It therefore
runs on the tokens of the map alone; one gather brings queries, keys and values into the order of windows, and another
one brings back what was attended to. The result is that of padding, rolling and cutting up to rounding.

Legend: B images, C channels, S tokens of a map, W windows of A tokens each, D channels of a head.
"""
import functools
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

#: added to the logits of tokens that must not see one another, as in the authors' release
APART = -100.


class WindowOrder(NamedTuple):
    """Where the tokens of a map stand in its windows.

    Attributes:
        tokens: of every place, window by window; any where it is padding.
        padding: the places without a token.
        places: of every token.
        mask: what is added to the logits of each window, None without a shift.
    """

    tokens: Int[Tensor, ' W*A']
    padding: Int[Tensor, ' _']
    places: Int[Tensor, ' S']
    mask: Float[Tensor, 'W 1 A A'] | None


@functools.lru_cache(maxsize=64)
def window_order(size: tuple[int, int], window: tuple[int, int], shift: tuple[int, int],
                 device: torch.device) -> WindowOrder:
    """Return the order of a map of ``size`` (height, width) that is padded, and rolled by ``shift``."""
    with torch.inference_mode(False), torch.device('cpu'):  # what is kept serves later calls that train
        order = _window_order(size, window, shift)
    return WindowOrder(*(None if part is None else part.to(device) for part in order))


def _window_order(size: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]) -> WindowOrder:
    (rows, row_parts), (columns, column_parts) = (_axis(*sides) for sides in zip(size, window, shift))
    tokens = _by_window(rows[:, None] * size[1] + columns, window)
    inside = _by_window((rows < size[0])[:, None] & (columns < size[1]), window)
    places = torch.empty(size[0] * size[1], dtype=torch.long)
    places[tokens.flatten()[inside.flatten()]] = inside.flatten().nonzero()[:, 0]
    mask = None
    if any(shift):
        parts = _by_window(row_parts[:, None] * 3 + column_parts, window)
        mask = ((parts[:, :, None] != parts[:, None, :]) * APART)[:, None]
    return WindowOrder((tokens * inside).flatten(), (~inside).flatten().nonzero()[:, 0], places, mask)


def _axis(side: int, window: int, shift: int) -> tuple[Int[Tensor, ' P'], Int[Tensor, ' P']]:
    """Of every row of the padded and rolled map: the row that it was, and which part it came from."""
    place = torch.arange(side + -side % window)
    return (place + shift) % len(place), (place >= len(place) - window).long() + (place >= len(place) - shift)


def _by_window(values: Tensor, window: tuple[int, int]) -> Tensor:
    """(height, width) of whole windows -> (W, A)."""
    return values.unfold(0, window[0], window[0]).unfold(1, window[1], window[1]).reshape(-1, window[0] * window[1])


def attend_in_windows(block: nn.Module, x: Float[Tensor, 'B H W C']) -> Float[Tensor, 'B H W C']:
    """Return what the attention of timm's ``block`` gives for a map that is padded and, if it is so, shifted."""
    attention = block.attn
    order = window_order(tuple(x.shape[1:3]), block.window_size, tuple(block.shift_size), x.device)
    qkv = attention.qkv(x).flatten(1, 2)
    filler = qkv.new_zeros(qkv.shape[-1]) if attention.qkv.bias is None else attention.qkv.bias.to(qkv.dtype)
    windows = _IntoWindows.apply(qkv, filler, order)
    q, k, v = windows.reshape(-1, attention.window_area, 3, attention.num_heads, windows.shape[-1]
                              // (3 * attention.num_heads)).permute(2, 0, 3, 1, 4)
    bias = attention._get_rel_pos_bias()
    if torch.is_grad_enabled():
        attended = _by_products(attention, q, k, v, bias, order.mask)
    else:
        mask = bias if order.mask is None else (bias + order.mask).expand(len(x), -1, -1, -1, -1).flatten(0, 1)
        attended = F.scaled_dot_product_attention(q, k, v, mask.to(q.dtype), scale=attention.scale)
    attended = attended.transpose(1, 2).reshape(len(x), -1, x.shape[-1])
    return attention.proj_drop(attention.proj(_OutOfWindows.apply(attended, order).view(x.shape)))


def _by_products(attention: nn.Module, q: Tensor, k: Tensor, v: Tensor, bias: Float[Tensor, '1 h A A'],
                 mask: Tensor | None) -> Float[Tensor, 'B*W h A D']:
    """Fused attention has no gradient for the position bias."""
    logits = (q * attention.scale) @ k.transpose(-2, -1)
    logits += bias
    if mask is not None:
        logits.view(-1, *mask.shape[:1], *logits.shape[1:]).add_(mask)
    return attention.attn_drop(logits.softmax(-1)) @ v


class _IntoWindows(torch.autograd.Function):
    """A gather whose gradient is one, too: every token stands in one place."""

    @staticmethod
    def forward(ctx, x: Float[Tensor, 'B S C'], filler: Float[Tensor, ' C'], order: WindowOrder) -> Tensor:
        ctx.order = order
        windows = x.index_select(1, order.tokens)
        windows[:, order.padding] = filler
        return windows

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        return gradient.index_select(1, ctx.order.places), gradient[:, ctx.order.padding].sum((0, 1)), None


class _OutOfWindows(torch.autograd.Function):
    """The way back; what was attended to by padding is left behind."""

    @staticmethod
    def forward(ctx, x: Float[Tensor, 'B P C'], order: WindowOrder) -> Tensor:
        ctx.order = order
        return x.index_select(1, order.places)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        back = gradient.index_select(1, ctx.order.tokens)
        back[:, ctx.order.padding] = 0
        return back, None
