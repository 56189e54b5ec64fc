"""Picking rows and columns without decoding."""
import numpy as np

from maskforge.structures.rle import decode, encode, pick, to_rle

BITMAP = np.random.default_rng(0).random((9, 13)) > 0.5
ROWS, COLUMNS = np.array([8, -1, 0, 0, 5], dtype=np.int32), np.array([3, 12, -1, 3], dtype=np.int32)


def test_encode_and_decode():
    assert (decode(encode(BITMAP[None])[0]) == BITMAP).all()
    assert encode(BITMAP[None])[0] == encode(BITMAP[None].astype(np.uint8) * 255)[0]
    assert encode(np.zeros((0, 3, 3))) == []


def test_picks_compose():
    once = pick(encode(BITMAP[None])[0], ROWS, COLUMNS)
    expected = np.where((ROWS[:, None] < 0) | (COLUMNS < 0), False, BITMAP[ROWS][:, COLUMNS])
    assert (decode(once) == expected).all()
    again = pick(once, np.array([4, -1, 1], dtype=np.int32), np.array([0, 2], dtype=np.int32))
    assert (decode(again) == np.stack([expected[4, [0, 2]], [0, 0], expected[1, [0, 2]]])).all()
    assert (decode(to_rle(again)) == decode(again)).all()
