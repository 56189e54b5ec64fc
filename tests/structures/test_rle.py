"""Picking rows and columns without decoding."""
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from maskforge.structures.rle import decode, encode, pick, run_lengths, to_rle

BITMAP = np.random.default_rng(0).random((9, 13)) > 0.5
ROWS, COLUMNS = np.array([8, -1, 0, 0, 5], dtype=np.int32), np.array([3, 12, -1, 3], dtype=np.int32)


def test_encode_and_decode():
    assert (decode(encode(BITMAP[None])[0]) == BITMAP).all()
    assert encode(BITMAP[None])[0] == encode(BITMAP[None].astype(np.uint8) * 255)[0]
    assert encode(np.zeros((0, 3, 3))) == []


@pytest.mark.parametrize('share', [0., 0.01, 0.5, 0.99, 1.])
@pytest.mark.parametrize('size', [(1, 1), (1, 40), (40, 1), (37, 50), (300, 200)])
def test_runs_are_decoded_as_by_pycocotools(size, share):
    bitmap = np.random.default_rng(1).random(size) < share
    bitmap[:, :size[1] // 3] = False
    rle = encode(bitmap[None])[0]
    found = decode(rle)
    assert (found == bitmap).all() and found.dtype == np.uint8 and found.flags.c_contiguous
    assert (decode({**rle, 'counts': rle['counts'].decode()}) == bitmap).all()
    runs = run_lengths(rle['counts'])
    assert coco_mask.frPyObjects({'size': list(size), 'counts': runs.tolist()}, *size)['counts'] == rle['counts']


def test_runs_that_do_not_fill_the_image_are_left_to_pycocotools():
    rle = dict(size=[4, 5], counts=encode(np.eye(4, 3, dtype=bool)[None])[0]['counts'])
    assert (decode(rle)[:, :3] == np.eye(4, 3)).all()


def test_picks_compose():
    once = pick(encode(BITMAP[None])[0], ROWS, COLUMNS)
    expected = np.where((ROWS[:, None] < 0) | (COLUMNS < 0), False, BITMAP[ROWS][:, COLUMNS])
    assert (decode(once) == expected).all()
    again = pick(once, np.array([4, -1, 1], dtype=np.int32), np.array([0, 2], dtype=np.int32))
    assert (decode(again) == np.stack([expected[4, [0, 2]], [0, 0], expected[1, [0, 2]]])).all()
    assert (decode(to_rle(again)) == decode(again)).all()
