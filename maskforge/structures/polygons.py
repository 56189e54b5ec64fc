"""Polygons of one instance: a list of rings, each a flat float64 array x0, y0, x1, y1, ... in absolute pixels.

Coordinates are continuous: pixel (i, j) covers [j, j + 1) x [i, i + 1). Rasterisation is pycocotools', so that a
mask has exactly the pixels that COCO's evaluation gives it.
"""
import math
from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

Number = int | float
Rings = list[np.ndarray]


def check_rings(rings: Sequence, *, where: str) -> Rings:
    """Return ``rings`` as float64 arrays.

    Raises:
        ValueError: a ring has fewer than three points, an odd count of numbers, or something that is not a finite
            number; the message starts with ``where``.
    """
    if len(rings) and np.isscalar(rings[0]) and not isinstance(rings[0], str):
        raise ValueError(f'{where}: a polygon must be a list of rings [[x0, y0, x1, y1, ...]], got one flat list of '
                         f'{len(rings)} numbers; wrap it in another list')
    return [_check_ring(ring, where=f'{where}, polygon {k}') for k, ring in enumerate(rings)]


def _check_ring(ring, *, where: str) -> np.ndarray:
    try:
        flat = np.asarray(ring, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f'{where}: expected numbers x0, y0, x1, y1, ..., got {str(ring)[:80]}') from None
    if flat.ndim != 1:
        raise ValueError(f'{where}: expected a flat list x0, y0, x1, y1, ..., got an array of shape {flat.shape}')
    if flat.size % 2:
        raise ValueError(f'{where}: expected pairs of numbers, got an odd count of {flat.size}')
    if flat.size < 6:
        raise ValueError(f'{where}: a polygon needs at least 3 points (6 numbers), got {flat.size // 2} points')
    if not math.isfinite(flat.sum()):
        raise ValueError(f'{where}: coordinates must be finite numbers, got {flat[~np.isfinite(flat)][0]}')
    return flat


def affine_rings(rings: Rings, scale: tuple[Number, Number], shift: tuple[Number, Number]) -> Rings:
    """Map each point (x, y) to (x * scale_x + shift_x, y * scale_y + shift_y)."""
    return [(ring.reshape(-1, 2) * scale + shift).reshape(-1) for ring in rings]


def ring_bounds(ring: np.ndarray) -> tuple[float, float, float, float]:
    """Return the extent (x0, y0, x1, y1) of one ring."""
    x, y = ring[0::2], ring[1::2]
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def rings_inside(rings: Rings, height: int, width: int) -> Rings:
    """Drop the rings that do not reach into the frame; those that cross its border stay whole."""
    kept = []
    for ring in rings:
        x0, y0, x1, y1 = ring_bounds(ring)
        if x0 < width and y0 < height and x1 > 0 and y1 > 0:
            kept.append(ring)
    return kept


def rings_bounds(rings: Rings) -> tuple[float, float, float, float] | None:
    """Return the extent (x0, y0, x1, y1) of all rings, or None where there is none."""
    if not rings:
        return None
    bounds = np.array([ring_bounds(ring) for ring in rings])
    return (*bounds[:, :2].min(axis=0).tolist(), *bounds[:, 2:].max(axis=0).tolist())


def rasterize(instances: Sequence[Rings], height: int, width: int) -> list[dict]:
    """Rasterise many instances in one call; the rings of one instance are united.

    Args:
        instances: rings of each instance; they may cross the frame, what lies outside is cut off.
        height, width: the frame in pixels.

    Returns:
        One COCO RLE (``size`` [height, width], ``counts`` bytes) per instance.
    """
    flat = [_whole_fifths(ring) for rings in instances for ring in rings]
    rles = iter(coco_mask.frPyObjects(flat, height, width) if flat else [])
    merged = []
    for rings in instances:
        own = [next(rles) for _ in rings]
        merged.append(own[0] if len(own) == 1 else coco_mask.merge(own) if own else empty_rle(height, width))
    return merged


def empty_rle(height: int, width: int) -> dict:
    """Return the RLE of a mask without a pixel."""
    return coco_mask.frPyObjects({'size': [height, width], 'counts': [height * width]}, height, width)


def _whole_fifths(ring: np.ndarray) -> np.ndarray:
    # pycocotools rounds 5 * x + 0.5 towards zero, which bends edges that start at negative coordinates (left of or
    # above a crop). Written as (q - 0.75) / 5 a negative coordinate comes out as q = floor(5 * x + 0.5), as it would
    # have before the crop.
    if ring.min() >= 0:
        return ring
    fifths = np.floor(ring * 5 + 0.5)
    return np.where(fifths < 0, (fifths - 0.75) / 5, np.maximum(ring, 0))
