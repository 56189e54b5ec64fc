"""COCO's run-length code: columns first, runs of background and foreground in turn.

An RLE dict is ``{'size': [height, width], 'counts': bytes}`` in the compressed form that pycocotools reads.
"""
from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from maskforge.structures.rle import run_lengths

#: images have no more pixels than this on a side; what claims more is damaged, and would need terabytes
LARGEST_SIDE = 1_000_000


def encode(bitmap: np.ndarray) -> dict:
    """Encode one (H, W) bitmap (bool or 0/1 uint8) as a compressed RLE dict."""
    return coco_mask.encode(np.asfortranarray(bitmap, dtype=np.uint8))


def decode(rle: dict) -> np.ndarray:
    """Decode an RLE dict (compressed or not) to an (H, W) bool bitmap."""
    return coco_mask.decode(compress(rle)).astype(bool)


def compress(rle: dict) -> dict:
    """Return the compressed form, with ``counts`` as bytes, of any COCO RLE dict.

    Raises:
        ValueError: the runs do not add up to height x width, or a key is missing.
    """
    problem = find_problem(rle)
    if problem:
        raise ValueError(f'RLE {problem}.')
    height, width = (int(length) for length in rle['size'])
    counts = rle['counts']
    if isinstance(counts, str):
        counts = counts.encode('ascii')
    elif not isinstance(counts, bytes):
        return coco_mask.frPyObjects({'size': [height, width], 'counts': [int(run) for run in counts]}, height, width)
    return {'size': [height, width], 'counts': counts}


def to_json(rle: dict) -> dict:
    """Return the compressed form with ``counts`` as str, as JSON needs it."""
    packed = compress(rle)
    return {'size': packed['size'], 'counts': packed['counts'].decode('ascii')}


def from_polygons(polygons: Sequence, height: int, width: int) -> dict:
    """Rasterise polygons (flat x0, y0, x1, y1 ... in pixels) into one RLE dict, by COCO's own rule."""
    parts = coco_mask.frPyObjects([np.asarray(polygon, dtype=np.float64).tolist() for polygon in polygons],
                                  height, width)
    return coco_mask.merge(parts)


def area(rle: dict) -> int:
    """Number of foreground pixels."""
    return int(coco_mask.area(compress(rle)))


def find_problem(rle: dict) -> str | None:
    """Say what is wrong with an RLE dict, or None: size, counts, runs that do not fill the image."""
    size, counts = rle.get('size'), rle.get('counts')
    if not isinstance(size, (list, tuple)) or len(size) != 2 or counts is None:
        return "needs 'size': [height, width] and 'counts'"
    if not all(_is_length(length) for length in size):
        return f'has the size {size!r}; two whole numbers from 1 to {LARGEST_SIDE}, height and width, are needed'
    try:
        runs = run_lengths(counts) if isinstance(counts, (str, bytes)) else np.asarray(counts, dtype=np.int64)
    except (ValueError, TypeError, OverflowError):
        return 'has counts that cannot be read'
    if runs.ndim != 1 or (runs.size and (runs.min() < 0 or runs.max() > LARGEST_SIDE ** 2)):
        return 'has negative, nested or endless runs'
    if int(runs.sum()) != int(size[0]) * int(size[1]):
        return f'has runs that cover {int(runs.sum())} pixels, but its size {list(size)} has {size[0] * size[1]}'
    return None


def _is_length(value: object) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool) \
        and 1 <= value <= LARGEST_SIDE and value == int(value)


def box(rle: dict) -> list[float]:
    """Tight box of the foreground: x0, y0, x1, y1 in pixels (all 0 where there is none)."""
    x, y, width, height = coco_mask.toBbox(compress(rle)).tolist()
    return [x, y, x + width, y + height]
