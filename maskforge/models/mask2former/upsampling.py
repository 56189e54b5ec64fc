"""Bilinear resizing through several frames at once, in strips of rows.

A mask goes from a quarter of the padded input to the padded input, loses the padding, and goes to the original size.
Each step is linear, and so is their chain: every row (and column) of the result is a weighted sum of a few neighbours
in the source. So any strip of the result follows from a few source rows, and no frame is ever held whole. All sums are
made element by element in a fixed order, so that the pixels do not depend on how the result is cut into strips.

Legend: N pixels of the result along one axis, T source pixels that each of them is made of.
"""
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class Taps(NamedTuple):
    """One axis of a resize: pixel n is the sum of ``weights[n, t] * source[first[n] + t]``.

    Attributes:
        first: never falls.
        weights: float64; each row adds up to 1.
        source: pixels of the source along this axis.
    """

    first: Int64[Tensor, ' N']
    weights: Float[Tensor, 'N T']
    source: int

    def part(self, low: int, high: int) -> 'Taps':
        """Return the pixels from ``low`` to ``high``, the end excluded, of the same source."""
        return self._replace(first=self.first[low:high], weights=self.weights[low:high])

    def band(self) -> tuple[int, int]:
        """Return the source pixels that are read: the first, and the one after the last."""
        return int(self.first[0]), int(self.first[-1]) + self.weights.shape[1]

    def then(self, later: 'Taps') -> 'Taps':
        """Return both resizes in one; ``later`` reads what this one makes, or its beginning."""
        middle = later.first[:, None] + torch.arange(later.weights.shape[1])
        reads = (self.first[middle][..., None] + torch.arange(self.weights.shape[1])).flatten(1)
        weights = (later.weights[..., None] * self.weights[middle]).flatten(1)
        width = int((reads[:, -1] - reads[:, 0]).max()) + 1
        first = reads[:, 0].clamp(max=self.source - width)
        merged = weights.new_zeros(len(reads), width).scatter_add_(1, reads - first[:, None], weights)
        return Taps(first, merged, self.source)

    def apply(self, image: Float[Tensor, '*C source']) -> Float[Tensor, '*C N']:
        """Resize the last axis of ``image``."""
        if self._changes_nothing(image.shape[-1]):
            return image
        # PyTorch picks columns of matrices three times faster than those of other tensors
        wide = self._sum(image.flatten(0, -2))
        return wide.view(*image.shape[:-1], wide.shape[-1])

    def apply_to_rows(self, image: Float[Tensor, 'C _ W'], *, start: int = 0) -> Float[Tensor, 'C N W']:
        """Resize the middle axis of ``image``, which begins with the source's row ``start``."""
        shifted = self._replace(first=self.first - start)
        return image if shifted._changes_nothing(image.shape[1]) else shifted._sum(image)

    def _changes_nothing(self, side: int) -> bool:
        return self.weights.shape[1] == 1 and torch.equal(self.first, torch.arange(side))

    def _sum(self, image: Float[Tensor, 'C source *W']) -> Float[Tensor, 'C N *W']:
        weights = self.weights.T.to(image, non_blocking=True).view(*self.weights.T.shape, *[1] * (image.dim() - 2))
        total = None
        for tap, weight in enumerate(weights):
            # a product and a sum, never fused: both round in the same way in every strip
            term = image.index_select(1, (self.first + tap).to(image.device, non_blocking=True)).mul_(weight)
            total = term if total is None else total.add_(term)
        return total


def linear_taps(source: int, target: int) -> Taps:
    """Return PyTorch's linear interpolation with ``align_corners=False`` from ``source`` pixels to ``target``."""
    if source == target or source == 1:
        first = torch.arange(target) if source == target else torch.zeros(target, dtype=torch.long)
        return Taps(first, torch.ones(target, 1, dtype=torch.float64), source)
    place = ((torch.arange(target, dtype=torch.float64) + 0.5) * (source / target) - 0.5).clamp(0, source - 1)
    first = place.floor().clamp(max=source - 2)
    share = place - first
    return Taps(first.long(), torch.stack((1 - share, share), dim=1), source)


class Resize(NamedTuple):
    """Both axes of a resize."""

    rows: Taps
    columns: Taps

    @classmethod
    def between(cls, source: tuple[int, int], target: tuple[int, int]) -> 'Resize':
        """From one size (height, width) to another."""
        return cls(*map(linear_taps, source, target))

    def cropped(self, size: tuple[int, int]) -> 'Resize':
        """Return the upper left part of ``size`` (height, width) of the result."""
        return Resize(*(taps.part(0, side) for taps, side in zip(self, size)))

    def then(self, later: 'Resize') -> 'Resize':
        """Return both resizes in one."""
        return Resize(*(taps.then(after) for taps, after in zip(self, later)))

    def strip(self, image: Float[Tensor, 'C h w'], low: int, high: int, *, start: int = 0) -> Float[Tensor, 'C _ W']:
        """Return the result's rows from ``low`` to ``high``, the end excluded.

        Args:
            image: the source, or its rows from ``start`` on, as far as they are read.
        """
        rows = self.rows.part(low, high)
        first, last = rows.band()
        # columns first: the source has fewer rows
        wide = self.columns.apply(image[:, first - start:last - start].float())
        return rows.apply_to_rows(wide, start=first)
