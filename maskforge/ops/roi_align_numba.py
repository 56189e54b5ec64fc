"""RoIAlign on the CPU as two loops over channels (extra ``cpu``).

The samples of a cell form a grid and are bilinear, so their mean is a sum over the feature cells below with weights
that are products: one of the row, one of the column. Each is added up before any feature is read.

The forward pass is cut into regions, the backward pass into blocks of channels: no two tasks write the same number, and
each adds in a fixed order, so the result has the same bits on any number of threads.

Shapes inside the kernels: features (B * H * W, C), regions (N, 5), pooled (N * S * S, C); ``chosen`` are the regions of
a level.
"""
from collections.abc import Sequence
from functools import partial
from typing import no_type_check

import numpy as np
import torch
from torch import Tensor

from .compiled_loops import at as _at
from .compiled_loops import compiled
from .task_threads import run_tasks

#: channels of one task of the backward pass
BLOCK = 32


@compiled
@no_type_check
def _shares(start, length, samples, side, first, count, shares):
    """For every bin of an axis: the first feature cell below it, how many there are, and the weight of each.

    ``shares`` has as many rows as there are bins. Rows end in zeros, so that cells can be taken by fours.
    """
    real, bins = shares.dtype.type, len(shares)
    step = length / real(bins)
    each = samples if samples > 0 else max(int(np.ceil(step)), 0)
    for bin in range(bins):
        first[bin], count[bin] = 0, 0
        for sample in range(each):
            # from left to right, also where a region is turned around
            sample = sample if step >= 0 else each - 1 - sample
            position = start + real(bin) * step + (real(sample) + real(0.5)) * step / real(each)
            if not (position >= real(-1) and position <= real(side)):
                continue
            position = min(max(position, real(0)), real(side - 1))
            low = int(position)
            high = min(low + 1, side - 1)
            way = position - real(low)
            if count[bin] == 0:
                first[bin] = low
            while count[bin] <= high - first[bin]:
                shares[bin, count[bin]] = real(0)
                count[bin] += 1
            shares[bin, low - first[bin]] += (real(1) - way) / real(each)
            shares[bin, high - first[bin]] += way / real(each)
        for end in range(count[bin], count[bin] + 3):
            shares[bin, end] = real(0)


@compiled
@no_type_check
def _axes(region, scale, aligned, samples, height, width, firsts, counts, of_rows, of_columns):
    """The shares of both axes of a region; row 0 of ``firsts`` and ``counts`` is of the rows, row 1 of the columns."""
    real = of_rows.dtype.type
    shift = real(0.5) if aligned else real(0)
    x, y = region[1] * scale - shift, region[2] * scale - shift
    columns, rows = region[3] * scale - shift - x, region[4] * scale - shift - y
    if not aligned:
        columns, rows = max(columns, real(1)), max(rows, real(1))
    _shares(y, rows, samples, height, firsts[0], counts[0], of_rows)
    _shares(x, columns, samples, width, firsts[1], counts[1], of_columns)


@compiled
@no_type_check
def _forward(features, regions, chosen, pooled, height, width, side, scale, aligned, samples, start, stop):
    """The chosen regions ``start`` to ``stop``."""
    channels = features.shape[1]
    of_rows, of_columns = np.empty((side, height + 3), features.dtype), np.empty((side, width + 3), features.dtype)
    firsts, counts = np.empty((2, side), np.int64), np.empty((2, side), np.int64)
    for number in chosen[start:stop]:
        _axes(regions[number], scale, aligned, samples, height, width, firsts, counts, of_rows, of_columns)
        image = int(regions[number, 0]) * height
        for row in range(side):
            for column in range(side):
                total = pooled[_at((number * side + row) * side + column)]
                for channel in range(channels):
                    total[channel] = 0
                last = firsts[1, column] + counts[1, column] - 1
                for n in range(counts[0, row]):
                    line = (image + firsts[0, row] + n) * width
                    for m in range(0, counts[1, column], 4):
                        cell, share = firsts[1, column] + m, of_rows[row, n]
                        a, b = features[_at(line + cell)], features[_at(line + min(cell + 1, last))]
                        c, d = features[_at(line + min(cell + 2, last))], features[_at(line + min(cell + 3, last))]
                        at_a, at_b = share * of_columns[column, m], share * of_columns[column, m + 1]
                        at_c, at_d = share * of_columns[column, m + 2], share * of_columns[column, m + 3]
                        for channel in range(channels):
                            total[channel] += (at_a * a[channel] + at_b * b[channel] + at_c * c[channel]
                                               + at_d * d[channel])


@compiled
@no_type_check
def _backward(gradient, regions, chosen, of_features, height, width, side, scale, aligned, samples, start, stop):
    """Blocks of channels ``start`` to ``stop``; ``of_features`` starts with zeros."""
    of_rows, of_columns = np.empty((side, height + 3), gradient.dtype), np.empty((side, width + 3), gradient.dtype)
    firsts, counts = np.empty((2, side), np.int64), np.empty((2, side), np.int64)
    for block in range(start, stop):
        low, high = block * BLOCK, min(block * BLOCK + BLOCK, gradient.shape[1])
        for number in chosen:
            _axes(regions[number], scale, aligned, samples, height, width, firsts, counts, of_rows, of_columns)
            image = int(regions[number, 0]) * height
            for row in range(side):
                for column in range(side):
                    outer = gradient[_at((number * side + row) * side + column), low:high]
                    for n in range(counts[0, row]):
                        line = (image + firsts[0, row] + n) * width + firsts[1, column]
                        for m in range(counts[1, column]):
                            share = of_rows[row, n] * of_columns[column, m]
                            target = of_features[_at(line + m), low:high]
                            for channel in range(high - low):
                                target[channel] += share * outer[channel]


class NumbaRoIAlign(torch.autograd.Function):
    """The operator for float32 on the CPU; the result has its channels last in memory. Regions get no gradient."""

    @staticmethod
    def forward(ctx, rois: Tensor, levels: Tensor, side: int, scales: Sequence[float], samples: int, aligned: bool,
                *features: Tensor) -> Tensor:
        """Return (N, C, side, side), each region from ``features[level]``, of ``scales[level]`` cells a pixel."""
        ctx.save_for_backward(rois, levels)
        ctx.shapes, ctx.settings = [level.shape for level in features], (side, scales, samples, aligned)
        pooled = torch.empty(len(rois), side, side, features[0].shape[1])
        regions, target = rois.detach().contiguous().numpy(), pooled.view(-1, pooled.shape[-1]).numpy()
        for level, maps in enumerate(features):
            chosen, rest = _chosen(levels, level), _settings(ctx, level)
            source = _rows(maps)
            run_tasks(partial(_forward, source, regions, chosen, target, *rest), len(chosen))
        return pooled.permute(0, 3, 1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the features."""
        rois, levels = ctx.saved_tensors
        outer, regions, found = _rows(gradient), rois.contiguous().numpy(), []
        for level, (images, channels, height, width) in enumerate(ctx.shapes):
            maps = torch.zeros(images, height, width, channels)
            chosen, rest = _chosen(levels, level), _settings(ctx, level)
            target = maps.view(-1, channels).numpy()
            run_tasks(partial(_backward, outer, regions, chosen, target, *rest), -(-channels // BLOCK))
            found.append(maps.permute(0, 3, 1, 2))
        return (None,) * 6 + tuple(found)


def _settings(ctx, level: int) -> tuple:
    side, scales, samples, aligned = ctx.settings
    return *ctx.shapes[level][2:], side, np.float32(scales[level]), aligned, samples


def _chosen(levels: Tensor, level: int) -> np.ndarray:
    return np.flatnonzero(levels.numpy() == level)


def _rows(maps: Tensor) -> np.ndarray:
    """(N, C, H, W) as rows of channels."""
    return maps.detach().permute(0, 2, 3, 1).contiguous().view(-1, maps.shape[1]).numpy()
