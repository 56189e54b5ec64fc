import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from maskforge.formats import rle
from maskforge.formats.outline import bitmap_to_polygons

BITMAPS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.booleans())


@given(BITMAPS)
def test_round_trip(bitmap):
    code = rle.encode(bitmap)
    assert rle.find_problem(code) is None
    assert rle.run_lengths(code['counts']).sum() == bitmap.size
    assert (rle.decode(rle.to_json(code)) == bitmap).all()
    assert rle.area(code) == bitmap.sum()
    if bitmap.any():
        rows, columns = np.nonzero(bitmap)
        assert rle.box(code) == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@given(BITMAPS)
def test_polygons_cover_the_same_pixels(bitmap):
    polygons = bitmap_to_polygons(bitmap)
    if polygons:
        assert (rle.decode(rle.from_polygons(polygons, *bitmap.shape)) == bitmap).all()
    elif polygons is not None:
        assert not bitmap.any()


def test_holes_cannot_be_polygons():
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    assert bitmap_to_polygons(ring) is None
    diagonal = bitmap_to_polygons(np.eye(2, dtype=bool))
    assert [len(polygon) for polygon in diagonal] == [8, 8]


@pytest.mark.parametrize('code', [
    dict(size=[4, 4], counts=[3, 4]), dict(size=[4], counts=[16]), dict(counts=[16]),
    dict(size=[4, 4], counts=[20, -4]), dict(size=[4, 4], counts='\x7f'), dict(size=[4, 4], counts=b'\x00')])
def test_broken_codes_are_refused(code):
    with pytest.raises(ValueError, match='RLE'):
        rle.compress(code)
