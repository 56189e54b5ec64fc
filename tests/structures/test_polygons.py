"""Rasterising rings."""
import numpy as np
import pytest

from maskforge.structures.polygons import rasterize, ring_bounds, rings_bounds, rings_inside
from maskforge.structures.rle import decode

SQUARE = np.array([2, 3, 7, 3, 7, 9, 2, 9], dtype=float)


@pytest.mark.parametrize('shift', [(0, 0), (-4, 0), (0, -5), (6, 4), (-4, -5), (20, 0)])
def test_squares_fill_whole_pixels_and_are_cut_at_the_frame(shift):
    expected = np.zeros((40, 40), dtype=np.uint8)
    expected[13 + shift[1]:19 + shift[1], 12 + shift[0]:17 + shift[0]] = 1
    moved = SQUARE + np.tile(shift, 4)
    assert (decode(rasterize([[moved]], 10, 12)[0]) == expected[10:20, 10:22]).all()


def test_rings_are_united_and_none_is_empty():
    rles = rasterize([[SQUARE, SQUARE + 1], [], [SQUARE]], 12, 12)
    assert [int(decode(rle).sum()) for rle in rles] == [30 + 30 - 20, 0, 30]


def test_bounds():
    assert ring_bounds(SQUARE) == (2, 3, 7, 9)
    assert rings_bounds([SQUARE, SQUARE + 4]) == (2, 3, 11, 13) and rings_bounds([]) is None
    assert len(rings_inside([SQUARE, SQUARE - 8, SQUARE + 20, SQUARE + 4], 12, 12)) == 2
