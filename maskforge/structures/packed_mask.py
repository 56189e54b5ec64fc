"""A mask as the bits of the window that holds it, encoded when somebody asks for its run lengths."""
import functools
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, UInt8
from pycocotools import mask as coco_mask

from .bit_planes import BITS, pack_row_bits

Window = tuple[int, int, int, int]  # x0, y0, x1, y1 in whole pixels, the end excluded


@dataclass(frozen=True, eq=False)
class PackedMask:
    """A bitmap that is empty outside a window; pickled and copied deep as its RLE, which is smaller.

    Attributes:
        bits: the window's rows, see bit_planes.
        window: where they are.
        size: (height, width) of the bitmap.
    """

    bits: UInt8[np.ndarray, 'h b']
    window: Window
    size: tuple[int, int]

    @classmethod
    def from_window(cls, bitmap: Bool[np.ndarray, 'h w'], window: Window, size: tuple[int, int]) -> 'PackedMask':
        """Pack the pixels of a window."""
        return cls(pack_row_bits(bitmap), window, size)

    @classmethod
    def from_rows(cls, bits: UInt8[np.ndarray, 'H B'], size: tuple[int, int]) -> 'PackedMask':
        """Take what has pixels from the packed rows of a whole bitmap; ``bits`` are not kept alive."""
        rows, groups = bits.any(axis=1).nonzero()[0], bits.any(axis=0).nonzero()[0]
        if not len(rows):
            return cls(np.zeros((0, 0), np.uint8), (0, 0, 0, 0), size)
        top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(groups[0]), int(groups[-1]) + 1
        return cls(bits[top:bottom, left:right].copy(), (BITS * left, top, min(BITS * right, size[1]), bottom), size)

    def __reduce__(self):
        return dict, (self.rle,)

    @functools.cached_property
    def rle(self) -> dict:
        """The COCO RLE, made once."""
        return window_to_rle(self.pixels(), self.window, self.size)

    def pixels(self) -> Bool[np.ndarray, 'h w']:
        """Return the window's pixels."""
        return np.unpackbits(self.bits, axis=1, count=self.window[2] - self.window[0]).view(bool)

    def bitmap(self) -> UInt8[np.ndarray, 'H W']:
        """Return the whole bitmap (0 or 1)."""
        x0, y0, x1, y1 = self.window
        bitmap = np.zeros(self.size, np.uint8)
        bitmap[y0:y1, x0:x1] = self.pixels()
        return bitmap

    @functools.cached_property
    def box(self) -> Window:
        """The tight box; (0, 0, 0, 0) of an empty mask."""
        rows = self.bits.any(axis=1).nonzero()[0]
        if not len(rows):
            return 0, 0, 0, 0
        columns = np.unpackbits(np.bitwise_or.reduce(self.bits, axis=0)).nonzero()[0]
        x0, y0 = self.window[:2]
        return x0 + int(columns[0]), y0 + int(rows[0]), x0 + int(columns[-1]) + 1, y0 + int(rows[-1]) + 1


def window_to_rle(bitmap: Bool[np.ndarray, 'h w'], window: Window, size: tuple[int, int]) -> dict:
    """Return the COCO RLE of an image of ``size`` (height, width) that is False outside ``window``."""
    height, width = size
    rows = window[3] - window[1]
    # OpenCV's transposition goes by blocks, but not of nothing
    columns = cv2.transpose(np.ascontiguousarray(bitmap).view(np.uint8)) if bitmap.size else bitmap.T.view(np.uint8)
    if rows < height:  # the pixels between two columns' windows are background: one stands for all of them
        columns = np.pad(columns, ((0, 0), (0, 1)))
    step = columns.shape[1]
    pixels = np.pad(columns.ravel(), 1)
    edges = np.flatnonzero(pixels[1:] != pixels[:-1])
    first, last = edges[::2], edges[1::2] - 1
    starts, ends = (window[1] + i % max(step, 1) + (window[0] + i // max(step, 1)) * height for i in (first, last))
    bounds = np.stack((starts, ends + 1), axis=1).ravel()
    counts = np.diff(bounds, prepend=0, append=height * width).tolist()
    if counts[-1] == 0:  # as pycocotools writes it
        counts.pop()
    return coco_mask.frPyObjects({'size': [height, width], 'counts': counts}, height, width)
