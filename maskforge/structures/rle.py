"""COCO run-length encoding: checked on the way in, decoded late, and moved about without decoding it.

Resizing to the nearest pixel, flipping, cropping and padding a bitmap all pick rows and columns. So a mask that is
given as RLE carries the rows and columns that have been picked so far, and is decoded once, when pixels are needed.
"""
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Int32, Int64, Shaped, UInt8
from pycocotools import mask as coco_mask

from .packed_mask import PackedMask

#: groups of 5 bits in a compressed run, counted from 0: more do not fit into 64 bits
LARGEST_PLACE = 11
Indices = Int32[np.ndarray, ' _']


class PickedRle(NamedTuple):
    """A bitmap by the rows and columns that are picked from an encoded one.

    Attributes:
        rle: the encoded bitmap: ``size`` [h, w] and ``counts`` as bytes.
        rows, columns: for each row and column of this bitmap the one of ``rle``; -1 where it is empty.
    """

    rle: dict
    rows: Indices
    columns: Indices


def check_rle(rle: Mapping, height: int, width: int, *, where: str) -> dict:
    """Return ``rle`` with compressed ``counts`` as bytes.

    Args:
        rle: ``size`` [height, width] and ``counts``: bytes, the same as a str, or a list of run lengths.

    Raises:
        ValueError: keys are missing, the size is not the image's, or the runs do not fill it; the message starts
            with ``where``.
    """
    missing = [key for key in ('size', 'counts') if key not in rle]
    if missing:
        raise ValueError(f'{where}: an RLE needs the keys size and counts, got {sorted(map(str, rle))}')
    size, counts = [int(value) for value in rle['size']], rle['counts']
    if size != [height, width]:
        raise ValueError(f'{where}: the RLE has size (h, w) = {tuple(size)}, the image has {(height, width)}')
    if isinstance(counts, str):
        counts = counts.encode('ascii')
    if isinstance(counts, bytes):
        return {'size': size, 'counts': counts}
    if not isinstance(counts, Sequence | np.ndarray):
        raise ValueError(f'{where}: RLE counts must be bytes, str or a list of run lengths, '
                         f'got {type(counts).__name__}')
    return _compress(counts, height, width, where=where)


def _compress(counts: Sequence[int], height: int, width: int, *, where: str) -> dict:
    runs = np.asarray(counts)
    # pycocotools writes past its buffer where the runs are longer than the image
    if (runs.size and runs.min() < 0) or int(runs.sum()) != height * width:
        raise ValueError(f'{where}: the run lengths of an RLE must be non-negative and add up to '
                         f'{height} x {width} = {height * width}, got a sum of {int(runs.sum())}')
    return coco_mask.frPyObjects({'size': [height, width], 'counts': runs.tolist()}, height, width)


def pick(mask: dict | PickedRle | PackedMask, rows: Indices, columns: Indices) -> PickedRle:
    """Pick ``rows`` and ``columns`` (-1: empty) of ``mask``; nothing is decoded (bits are encoded)."""
    if isinstance(mask, PickedRle):
        return PickedRle(mask.rle, pick_indices(mask.rows, rows), pick_indices(mask.columns, columns))
    return PickedRle(to_rle(mask), rows, columns)


def pick_indices(indices: Indices, chosen: Indices) -> Indices:
    """Return ``indices[chosen]``, and -1 where ``chosen`` is -1."""
    return np.where(chosen < 0, np.int32(-1), indices.take(chosen, mode='clip'))


def decode(mask: dict | PickedRle | PackedMask) -> UInt8[np.ndarray, 'H W']:
    """Return the bitmap (0 or 1) of ``mask``."""
    if isinstance(mask, PackedMask):
        return mask.bitmap()
    if not isinstance(mask, PickedRle):
        bitmap, (left, columns) = np.zeros(mask['size'], np.uint8), _columns(mask)
        if len(columns):
            bitmap[:, left:left + len(columns)] = cv2.transpose(columns)
        return bitmap
    # whole lines are copied before and after the transposition: picking single bytes is many times slower
    left, columns = _columns(mask.rle)
    columns_first = np.zeros(mask.rle['size'][::-1], np.uint8)
    columns_first[left:left + len(columns)] = columns
    columns_first = columns_first.take(mask.columns, axis=0, mode='clip')
    columns_first[mask.columns < 0] = 0
    picked = cv2.transpose(columns_first).take(mask.rows, axis=0, mode='clip')
    picked[mask.rows < 0] = 0
    return picked


def _columns(mask: dict) -> tuple[int, UInt8[np.ndarray, 'C H']]:
    """The columns from the first to the last one with pixels, and the first one's number.

    As pycocotools, which writes all columns byte by byte, in a fraction of its time.
    """
    height, width = mask['size']
    try:
        runs = run_lengths(mask['counts'])
    except ValueError:  # pycocotools reads on
        return 0, coco_mask.decode(mask).T
    if runs.min(initial=0) < 0 or runs.sum() != height * width:
        return 0, coco_mask.decode(mask).T
    inside = runs[1:len(runs) // 2 * 2]  # from the first run of ones to the last
    first = int(runs[:1].sum())
    left, right = first // height, -(-(first + int(inside.sum())) // height)
    columns = np.zeros((max(right - left, 0), height), np.uint8)
    drawn = np.repeat((np.arange(len(inside)) % 2 == 0).view(np.uint8), inside)
    columns.reshape(-1)[first - left * height:][:len(drawn)] = drawn
    return left, columns


def run_lengths(counts: bytes | str) -> Int64[np.ndarray, ' R']:
    """Return the lengths of runs of zeros and ones, by turns, of COCO's compressed form.

    A number is written in groups of five bits, the lowest first, each with a bit that says whether more follow; the
    last group's highest bit is the sign. From the fourth on, it is the difference to the number two before.

    Raises:
        ValueError: they are not in this form, or a number does not fit into 64 bits.
    """
    raw = np.frombuffer(counts.encode('ascii') if isinstance(counts, str) else counts, dtype=np.uint8).astype(np.int64)
    raw = raw - 48
    if raw.size == 0:
        return raw
    last = np.flatnonzero(raw & 0x20 == 0)
    if last.size == 0 or last[-1] != raw.size - 1 or raw.min() < 0 or raw.max() > 63:
        raise ValueError('counts are not in the compressed code')
    first = np.concatenate([[0], last[:-1] + 1])
    sizes = last - first + 1
    place = np.arange(raw.size) - np.repeat(first, sizes)
    if place.max() > LARGEST_PLACE:
        raise ValueError('counts have a number that is too large')
    runs = np.add.reduceat((raw & 0x1F) << (5 * place), first)
    runs -= np.where(raw[last] & 0x10, np.int64(1) << (5 * sizes), 0)
    for parity in (1, 2):  # run i adds to run i - 2, for i > 2
        runs[parity::2] = np.cumsum(runs[parity::2])
    return runs


def encode(bitmaps: Shaped[np.ndarray, 'N H W']) -> list[dict]:
    """Return one RLE (``counts`` as bytes) per bitmap; non-zero pixels are inside."""
    if not len(bitmaps):
        return []
    count, height, width = bitmaps.shape
    columns_first = np.empty((count, width, height), np.uint8)
    if columns_first.size:
        for flipped, bitmap in zip(columns_first, bitmaps):
            # ten times as fast as numpy's copy into Fortran order
            cv2.transpose((bitmap != 0).view(np.uint8), dst=flipped)
    return coco_mask.encode(columns_first.transpose(2, 1, 0))


def to_rle(mask: dict | PickedRle | PackedMask) -> dict:
    """Return ``mask`` as a plain RLE."""
    if isinstance(mask, PackedMask):
        return dict(mask.rle)  # instances may share bits, but not what users may write to
    return encode(decode(mask)[None])[0] if isinstance(mask, PickedRle) else mask
