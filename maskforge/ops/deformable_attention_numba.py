"""Deformable attention on the CPU as two fused loops, compiled by numba at first use (extra ``cpu``).

The forward pass is cut into (image, head, tile of queries), the backward pass into (image, head, level): no two tasks
write the same number, and each adds in a fixed order, so the result has the same bits on any number of threads. The
threads are those of :mod:`.task_threads`; numba's own threading layers do not survive a fork and are not used.

Half types are computed in float32.

Shapes inside the kernels: value (B * S * H, D), locations (B * Q * H, L * P * 2), weights (B * Q * H, L * P), result
(B * Q * H, D), sizes (L, 3) int64: height, width, first token.
"""
import functools
import math
from collections.abc import Sequence
from typing import no_type_check

import numpy as np
import torch
from torch import Tensor

from .compiled_loops import at as _at
from .compiled_loops import compiled as _compiled
from .task_threads import run_tasks

#: queries of one task of the forward pass
TILE = 64
# beyond lies what is no number; isfinite() is a sum, which the reordering drops
HUGE = 1e38


@_compiled
@no_type_check
def _between(position, side, one):
    """The two pixels a coordinate lies between, kept within 0 to side - 1, and for each: 1 if it exists, its share."""
    zero = one - one
    floor = np.floor(position)
    way, first = position - floor, int(floor)
    left, right = (one if first >= 0 else zero), (one if first + 1 < side else zero)
    return max(first, 0), min(first + 1, side - 1), left, right, left * (one - way), right * way


@_compiled
@no_type_check
def _corners(place, shares, sizes, first_row, heads, rows, parts):
    """Write the corners of all samples of one query and head: rows of the value and their parts of the sum.

    Returns their number. Four corners without a part follow, so that samples can be taken in pairs.
    """
    real, found = parts.dtype.type, 0
    one, half, points = real(1), real(0.5), len(shares) // len(sizes)
    for level in range(len(sizes)):
        height, width, start = sizes[level, 0], sizes[level, 1], sizes[level, 2]
        for sample in range(level * points, level * points + points):
            x = place[_at(2 * sample)] * real(width) - half
            y = place[_at(2 * sample + 1)] * real(height) - half
            if x > -one and y > -one and x < real(width) and y < real(height):
                left, right, _, _, at_left, at_right = _between(x, width, one)
                top, bottom, _, _, at_top, at_bottom = _between(y, height, one)
                at_top, at_bottom = at_top * shares[_at(sample)], at_bottom * shares[_at(sample)]
                above, below = first_row + (start + top * width) * heads, first_row + (start + bottom * width) * heads
                rows[found], parts[found] = above + left * heads, at_top * at_left
                rows[found + 1], parts[found + 1] = above + right * heads, at_top * at_right
                rows[found + 2], parts[found + 2] = below + left * heads, at_bottom * at_left
                rows[found + 3], parts[found + 3] = below + right * heads, at_bottom * at_right
                found += 4
            elif not abs(x) + abs(y) < HUGE:
                _fill(rows, parts, found, first_row, real(math.nan))  # a network that diverged must show
                found += 4
    _fill(rows, parts, found, first_row, real(0))
    return found


@_compiled
@no_type_check
def _fill(rows, parts, start, row, part):
    """Four corners on the same pixel."""
    for corner in range(start, start + 4):
        rows[corner], parts[corner] = row, part


@_compiled
@no_type_check
def _forward(value, locations, weights, sizes, found, images, heads, first, last):
    """Tasks ``first`` to ``last`` of the sum over samples, written to ``found``."""
    queries, channels = len(found) // (images * heads), value.shape[1]
    tiles = (queries + TILE - 1) // TILE
    rows = np.empty(4 * weights.shape[1] + 4, _at)
    parts = np.empty(4 * weights.shape[1] + 4, value.dtype)
    for task in range(first, last):
        image, head, tile = task // (heads * tiles), task // tiles % heads, task % tiles
        first_row = image * (len(value) // images) + head
        for query in range(tile * TILE, min(tile * TILE + TILE, queries)):
            here = _at((image * queries + query) * heads + head)
            count, total = _corners(locations[here], weights[here], sizes, first_row, heads, rows, parts), found[here]
            for channel in range(channels):
                total[channel] = 0
            # two samples a turn: half as many turns that read and write ``total``
            for n in range(0, count, 8):
                a, b, c, d = value[rows[n]], value[rows[n + 1]], value[rows[n + 2]], value[rows[n + 3]]
                e, f, g, h = value[rows[n + 4]], value[rows[n + 5]], value[rows[n + 6]], value[rows[n + 7]]
                at_a, at_b, at_c, at_d = parts[n], parts[n + 1], parts[n + 2], parts[n + 3]
                at_e, at_f, at_g, at_h = parts[n + 4], parts[n + 5], parts[n + 6], parts[n + 7]
                for channel in range(channels):
                    total[channel] += (
                        at_a * a[channel] + at_b * b[channel] + at_c * c[channel] + at_d * d[channel]
                        + at_e * e[channel] + at_f * f[channel] + at_g * g[channel] + at_h * h[channel])


@functools.cache
@no_type_check
def _backward_kernel(channels):
    """The backward pass for one number of channels: a loop of known length takes the widest vectors.

    One function, because numba's cache knows no others by which this one would be made.
    """
    @_compiled
    def backward(value, locations, weights, sizes, gradient, of_value, of_locations, of_weights, images, heads, first,
                 last):
        """Tasks ``first`` to ``last`` of the gradients; ``of_...`` start with zeros."""
        queries, points = len(gradient) // (images * heads), weights.shape[1] // len(sizes)
        real = value.dtype.type
        one, half = real(1), real(0.5)
        for task in range(first, last):
            level, head, image = task % len(sizes), task // len(sizes) % heads, task // (len(sizes) * heads)
            height, width, start = sizes[level, 0], sizes[level, 1], sizes[level, 2]
            first_row = image * (len(value) // images) + head + start * heads
            for n in range(queries * points):
                here = _at((image * queries + n // points) * heads + head)
                outer, sample = gradient[here], level * points + n % points
                x = locations[here, _at(2 * sample)] * real(width) - half
                y = locations[here, _at(2 * sample + 1)] * real(height) - half
                if not (x > -one and y > -one and x < real(width) and y < real(height)):
                    if not abs(x) + abs(y) < HUGE:
                        of_locations[here, _at(2 * sample)] = of_locations[here, _at(2 * sample + 1)] = real(math.nan)
                        of_weights[here, _at(sample)] = real(math.nan)
                    continue
                left, right, has_left, has_right, at_left, at_right = _between(x, width, one)
                top, bottom, has_top, has_bottom, at_top, at_bottom = _between(y, height, one)
                above, below = first_row + top * width * heads, first_row + bottom * width * heads
                row_a, row_b = _at(above + left * heads), _at(above + right * heads)
                row_c, row_d = _at(below + left * heads), _at(below + right * heads)
                a, b, c, d = value[row_a], value[row_b], value[row_c], value[row_d]
                of_a = of_b = of_c = of_d = real(0)
                for channel in range(channels):
                    of_a += outer[channel] * a[channel]
                    of_b += outer[channel] * b[channel]
                    of_c += outer[channel] * c[channel]
                    of_d += outer[channel] * d[channel]
                a, b, c, d, weight = (of_value[row_a], of_value[row_b], of_value[row_c], of_value[row_d],
                                      weights[here, _at(sample)])
                at_a, at_b = weight * at_top * at_left, weight * at_top * at_right
                at_c, at_d = weight * at_bottom * at_left, weight * at_bottom * at_right
                # one after the other: at a border two of them are the same row
                for channel in range(channels):
                    a[channel] += at_a * outer[channel]
                    b[channel] += at_b * outer[channel]
                    c[channel] += at_c * outer[channel]
                    d[channel] += at_d * outer[channel]
                upper, lower = at_left * of_a + at_right * of_b, at_left * of_c + at_right * of_d
                of_x = at_top * (has_right * of_b - has_left * of_a) + at_bottom * (has_right * of_d - has_left * of_c)
                of_locations[here, _at(2 * sample)] = weight * real(width) * of_x
                of_locations[here, _at(2 * sample + 1)] = weight * real(height) * (has_bottom * lower - has_top * upper)
                of_weights[here, _at(sample)] = at_top * upper + at_bottom * lower
    return backward


def forward(value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    """The sum over samples, (B, Q, H * D); ``sizes`` are height and width of level after level."""
    images, queries, heads = locations.shape[:3]
    arrays, table = _arrays(value, locations, weights), _table(sizes)
    found = torch.empty(images, queries, heads * value.shape[3], dtype=_exact(value), device=value.device)
    if found.numel():
        rows = found.view(-1, value.shape[3]).numpy()
        run_tasks(lambda first, last: _forward(*arrays, table, rows, images, heads, first, last),
                  images * heads * -(-queries // TILE))
    return found.to(value.dtype)


def backward(gradient: Tensor, value: Tensor, sizes: Sequence[int], locations: Tensor,
             weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of value, locations and weights from that of the result, each in its tensor's dtype."""
    images, heads = locations.shape[0], locations.shape[2]
    arrays, table = _arrays(value, locations, weights), _table(sizes)
    results = [torch.zeros(like.shape, dtype=_exact(value), device=value.device)
               for like in (value, locations, weights)]
    if gradient.numel():
        outer = _rows(gradient, value.shape[3], _exact(value))
        targets = [found.view(array.shape).numpy() for found, array in zip(results, arrays)]
        kernel = _backward_kernel(value.shape[3])
        run_tasks(lambda first, last: kernel(*arrays, table, outer, *targets, images, heads, first, last),
                  images * heads * len(table))
    return tuple(found.to(like.dtype) for found, like in zip(results, (value, locations, weights)))


def _exact(value: Tensor) -> torch.dtype:
    return torch.promote_types(value.dtype, torch.float32)


def _arrays(value: Tensor, locations: Tensor, weights: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    levels, points = weights.shape[3:]
    exact = _exact(value)
    return (_rows(value, value.shape[3], exact), _rows(locations, levels * points * 2, exact),
            _rows(weights, levels * points, exact))


def _rows(tensor: Tensor, width: int, dtype: torch.dtype) -> np.ndarray:
    return tensor.detach().to(dtype).contiguous().view(-1, width).numpy()


def _table(sizes: Sequence[int]) -> np.ndarray:
    areas = [height * width for height, width in zip(sizes[::2], sizes[1::2])]
    starts = np.cumsum([0, *areas[:-1]])
    return np.stack([np.array(sizes[::2]), np.array(sizes[1::2]), starts], axis=1).astype(np.int64)
