"""Where an automatic search clicks: a grid of points, on the whole image and on overlapping crops of it."""
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

CropBox = tuple[int, int, int, int]  # x0, y0, x1, y1 in whole pixels, the end excluded


def point_grid(points_per_side: int) -> Float[np.ndarray, 'P 2']:
    """Return the centres of an even grid of cells, x and y in 0 .. 1, row by row.

    Raises:
        ValueError: less than one point.
    """
    if points_per_side < 1:
        raise ValueError(f'a grid of {points_per_side} points per side has no point; at least 1 is asked for.')
    centres = (np.arange(points_per_side) + 0.5) / points_per_side
    x, y = np.meshgrid(centres, centres)
    return np.stack((x, y), axis=-1).reshape(-1, 2)


def layer_grids(points_per_side: int, layers: int, downscale: int) -> list[Float[np.ndarray, 'P 2']]:
    """Return the grid of the whole image and one per layer of crops, each ``downscale`` times coarser."""
    return [point_grid(max(points_per_side // downscale ** layer, 1)) for layer in range(layers + 1)]


def crop_boxes(size: tuple[int, int], layers: int, overlap_ratio: float | int) -> list[tuple[CropBox, int]]:
    """Return crops and their layers: the image (layer 0), then 2 x 2, 4 x 4 ... crops.

    Args:
        size: (height, width).
        overlap_ratio: crops of the first layer overlap by this part of the image's shorter side, those of further
            layers by half of it, a quarter ...
    """
    height, width = size
    crops: list[tuple[CropBox, int]] = [((0, 0, width, height), 0)]
    for layer in range(1, layers + 1):
        count = 2 ** layer
        overlap = int(overlap_ratio * min(size) * 2 / count)
        columns, rows = (_spans(extent, count, overlap) for extent in (width, height))
        crops += [((x0, y0, x1, y1), layer) for x0, x1 in columns for y0, y1 in rows]
    return crops


def _spans(extent: int, count: int, overlap: int) -> Sequence[tuple[int, int]]:
    side = math.ceil((overlap * (count - 1) + extent) / count)
    starts = [(side - overlap) * index for index in range(count)]
    return [(start, min(start + side, extent)) for start in starts]
