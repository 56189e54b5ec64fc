"""Attention of the Hiera trunk's blocks where a CPU computes without gradients: nothing is padded.

Legend: B images, H W places of a map, C channels, N windows, S places of a window, E channels of a head.
"""
import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

#: of a strip: enough that reading the weights does not count, few enough that what is freed serves the next one
STRIP_PLACES = 2**11


class Windows(NamedTuple):
    """``count`` windows of one size; those at the right and lower edges of a map may be smaller than the others."""

    count: int
    height: int
    width: int


class WindowOrder(NamedTuple):
    """The places of a map (row by row) window after window.

    Attributes:
        places: the place that comes at each position.
        positions: the position of each place.
        kinds: windows in this order.
    """

    places: Int[Tensor, ' HW']
    positions: Int[Tensor, ' HW']
    kinds: tuple[Windows, ...]

    @property
    def is_the_map_s(self) -> bool:
        """Whether nothing moves: one window is all."""
        return len(self.kinds) == self.kinds[0].count == 1

    def windows_of(self, x: Float[Tensor, 'B H W C']) -> Float[Tensor, 'B HW C']:
        """Return the places of a map window after window."""
        x = x.flatten(1, 2)
        return x if self.is_the_map_s else x.index_select(1, self.places)

    def map_of(self, x: Float[Tensor, 'B HW C']) -> Float[Tensor, 'B HW C']:
        """Return places that come window after window row by row."""
        return x if self.is_the_map_s else x.index_select(1, self.positions)


@functools.lru_cache(64)
def window_order(size: tuple[int, int], window: tuple[int, int]) -> WindowOrder:
    """Return the order of a map of ``size`` (H, W) cut into windows of at most ``window`` (h, w)."""
    grid = torch.arange(size[0] * size[1]).reshape(size)
    inside = [side // part * part for side, part in zip(size, window)]
    parts, kinds = [], []
    for rows in (grid[:inside[0]], grid[inside[0]:]):
        for part in (rows[:, :inside[1]], rows[:, inside[1]:]):
            if part.numel():
                high, wide = (min(*sides) for sides in zip(part.shape, window))
                cut = part.unflatten(1, (-1, wide)).unflatten(0, (-1, high)).transpose(1, 2)
                parts.append(cut.flatten())
                kinds.append(Windows(part.numel() // (high * wide), high, wide))
    places = torch.cat(parts)
    return WindowOrder(places, places.argsort(), tuple(kinds))


def strip_rows(x: Float[Tensor, 'B H W C'], window: tuple[int, int]) -> int:
    """Return how many rows of places, of whole windows (h, w), are computed at once."""
    return max(STRIP_PLACES // max(x.shape[0] * x.shape[2] * window[0], 1), 1) * window[0]


def attend_in_windows(projected: Float[Tensor, 'B HW D3'], kinds: Sequence[Windows],
                      filler: Float[Tensor, ' D3'] | None, *, window: tuple[int, int], stride: tuple[int, int],
                      heads: int) -> Float[Tensor, 'B _ D']:
    """Return what the places of every window gather from those of their window.

    Args:
        projected: queries, keys and values in the order of windows.
        kinds: the windows.
        filler: query, key and value of all places that a smaller window lacks to be of the size ``window`` (h, w);
            None where all have it.
        stride: queries are the maxima of so many rows and columns.
    """
    found = []
    for kind, part in zip(kinds, projected.split([math.prod(kind) for kind in kinds], 1), strict=True):
        parts = part.reshape(-1, kind.height * kind.width, 3, heads, part.shape[-1] // (3 * heads))
        q, k, v = parts.unbind(2)
        if stride != (1, 1):
            q = pooled(q.flatten(2).unflatten(1, kind[1:]), stride).flatten(1, 2).unflatten(2, (heads, -1))
        missing = window[0] * window[1] - kind.height * kind.width
        bias = None
        if missing:
            _, *fillers = filler.reshape(3, heads, -1)
            k, v = (torch.cat((x, one.expand(len(x), 1, -1, -1)), 1) for x, one in zip((k, v), fillers))
            bias = _weight_of_last(missing, k.shape[1]).to(q).expand(q.shape[1], -1)
        gathered = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), bias)
        found.append(gathered.transpose(1, 2).reshape(len(projected), -1, projected.shape[-1] // 3))
    return torch.cat(found, 1) if len(found) > 1 else found[0]


def _weight_of_last(times: int, length: int) -> Float[Tensor, ' S']:
    """What is added to logits so that the last key counts ``times``: exp(logit + log(times))."""
    bias = torch.zeros(length)
    bias[-1] = math.log(times)
    return bias


def pooled(x: Float[Tensor, 'N H W C'], stride: tuple[int, int]) -> Float[Tensor, 'N _ _ C']:
    """Return the maxima of ``stride`` rows and columns, which divide the map's: channels stay together."""
    for dim, step in enumerate(stride, start=1):
        first, *others = x.unflatten(dim, (-1, step)).unbind(dim + 1)
        x = functools.reduce(torch.maximum, others, first)
    return x
