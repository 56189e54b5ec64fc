"""Segmentations of many records in a handful of flat arrays, instead of millions of Python objects."""
from array import array
from collections.abc import Sequence

import numpy as np

from . import rle

NONE, POLYGONS, RLE = 0, 1, 2
#: pixels; drawing a line takes memory by its length
LARGEST_COORDINATE = 1_000_000


class SegmentationColumn:
    """Append-only column of COCO segmentations: nothing, polygons or run lengths.

    Polygons keep double precision (official areas and masks depend on it); run lengths are kept compressed.
    """

    def __init__(self) -> None:
        self._kinds = array('b')
        self._starts = array('q')  # the record's first polygon, or its RLE
        self._stops = array('q')
        self._points = array('d')
        self._polygon_ends = array('q', [0])
        self._counts = bytearray()
        self._count_ends = array('q', [0])
        self._sizes = array('i')

    def __len__(self) -> int:
        return len(self._kinds)

    def __getitem__(self, row: int) -> list[np.ndarray] | dict | None:
        """The record's polygons (flat float64 x0, y0, x1, y1 ...), its compressed RLE dict, or None."""
        start, stop = self._starts[row], self._stops[row]
        if self._kinds[row] == POLYGONS:
            points, ends = np.frombuffer(self._points), self._polygon_ends
            return [points[ends[i]:ends[i + 1]].copy() for i in range(start, stop)]
        if self._kinds[row] == RLE:
            counts = bytes(self._counts[self._count_ends[start]:self._count_ends[stop]])
            return {'size': [self._sizes[2 * start], self._sizes[2 * start + 1]], 'counts': counts}
        return None

    def append(self, segmentation: Sequence | dict | None, *, height: int, width: int) -> str | None:
        """Add one record of an image of ``height`` x ``width`` pixels; say what is wrong with it, or return None.

        A record with a problem is stored as far as it is sound: its good polygons, or nothing.
        """
        if not segmentation:
            self._close(NONE, 0, 0)
            return None
        if isinstance(segmentation, dict):
            return self._append_rle(segmentation, height, width)
        return self._append_polygons(segmentation)

    def drop_last(self) -> None:
        """Forget the newest record (its points stay allocated)."""
        for column in (self._kinds, self._starts, self._stops):
            column.pop()

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all records but these (the points of the others stay allocated)."""
        for name in ('_kinds', '_starts', '_stops'):
            column = getattr(self, name)
            setattr(self, name, array(column.typecode, [column[row] for row in rows]))

    def _append_rle(self, segmentation: dict, height: int, width: int) -> str | None:
        problem = rle.find_problem(segmentation)
        if problem is None and [int(length) for length in segmentation['size']] != [height, width]:
            problem = f'has size {list(segmentation["size"])}, but the image is [height, width] = [{height}, {width}]'
        if problem:
            self._close(NONE, 0, 0)
            return f'RLE segmentation {problem}'
        start = len(self._count_ends) - 1
        self._counts += rle.compress(segmentation)['counts']
        self._count_ends.append(len(self._counts))
        self._sizes.extend((height, width))
        self._close(RLE, start, start + 1)
        return None

    def _append_polygons(self, polygons: Sequence) -> str | None:
        problem, start = None, len(self._polygon_ends) - 1
        for polygon in polygons:
            found = polygon_problem(polygon)
            if found:
                problem = problem or found
                continue
            self._points.extend(np.asarray(polygon, np.float64).tolist())
            self._polygon_ends.append(len(self._points))
        self._close(POLYGONS, start, len(self._polygon_ends) - 1)
        return problem

    def _close(self, kind: int, start: int, stop: int) -> None:
        self._kinds.append(kind)
        self._starts.append(start)
        self._stops.append(stop)


def polygon_problem(polygon: Sequence) -> str | None:
    """Say why a flat polygon cannot be used, or return None."""
    if not isinstance(polygon, (list, tuple, np.ndarray)):
        return f'segmentation holds {polygon!r} where a list x0, y0, x1, y1 ... belongs; polygons are a list of lists'
    try:
        points = np.asarray(polygon)
    except (TypeError, ValueError, OverflowError):
        return 'segmentation has a polygon with something other than numbers in it'
    if points.dtype.kind not in 'iuf' and points.size:
        return 'segmentation has a polygon with something other than numbers in it'
    if points.ndim != 1 or points.size % 2:
        return f'segmentation has a polygon of shape {points.shape}; a flat, even list x0, y0, x1, y1 ... is needed'
    if points.size < 6:
        return f'segmentation has a polygon with {points.size // 2} points; at least 3 are needed'
    if not np.isfinite(points).all():
        return 'segmentation has a polygon with a coordinate that is not finite'
    if np.abs(points).max() > LARGEST_COORDINATE:
        return f'segmentation has a polygon with the coordinate {np.abs(points).max():.6g}, which is beyond any image'
    return None
