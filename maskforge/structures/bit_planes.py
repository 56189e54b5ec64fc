"""Bitmaps at one bit a pixel: an eighth of the bytes to send from a loader worker and to a device.

Legend: N masks, H W pixels, B bytes a row (W / 8, rounded up); the first pixel of a byte is its highest bit.
"""
import functools

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor
from torch.nn import functional as F

BITS = 8


def row_bytes(width: int) -> int:
    """B of rows of ``width`` pixels."""
    return -(-width // BITS)


def pack_row_bits(bitmap: UInt8[np.ndarray, 'H W'] | Bool[np.ndarray, 'H W']) -> UInt8[np.ndarray, 'H B']:
    """Pack one bitmap; non-zero pixels are inside."""
    return np.packbits(bitmap, axis=1)


def pack_bits(bitmaps: Bool[Tensor, '*N W']) -> UInt8[Tensor, '*N B']:
    """Pack rows on their device, so that an eighth of the bytes leave it."""
    if bitmaps.device.type == 'cpu':
        return torch.from_numpy(np.packbits(bitmaps.numpy(), axis=-1))
    return _sum_bits(bitmaps)


def _sum_bits(bitmaps: Bool[Tensor, '*N W']) -> UInt8[Tensor, '*N B']:
    groups = F.pad(bitmaps.view(torch.uint8), (0, -bitmaps.shape[-1] % BITS)).unflatten(-1, (-1, BITS))
    shifts = torch.arange(BITS - 1, -1, -1, device=bitmaps.device, dtype=torch.uint8)
    return (groups << shifts).sum(-1, dtype=torch.uint8)


def unpack_bits(packed: UInt8[Tensor, 'N H B'], width: int) -> Bool[Tensor, 'N H W']:
    """Return all pixels, on the device of ``packed``; ``width`` is W."""
    if packed.device.type == 'cpu':
        # numpy's look-up takes a quarter of the time of torch's, and of numpy.unpackbits
        pixels = torch.from_numpy(_table()[packed.numpy()].view(bool))
    else:
        shifts = torch.arange(BITS - 1, -1, -1, device=packed.device, dtype=torch.uint8)
        pixels = (packed[..., None] >> shifts & 1).bool()
    return pixels.reshape(*packed.shape[:2], packed.shape[2] * BITS)[..., :width]


def pad_bits(packed: UInt8[Tensor, 'N H B'], height: int, width: int) -> UInt8[Tensor, 'N H2 B2']:
    """Extend the bitmaps to ``height`` x ``width`` pixels with empty ones."""
    return F.pad(packed, (0, row_bytes(width) - packed.shape[2], 0, height - packed.shape[1]))


@functools.cache
def _table() -> np.ndarray:
    """(256,) int64 whose bytes are the eight pixels of every byte."""
    return np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).view(np.int64)[:, 0].copy()
