"""COCO run-length encoding: checked on the way in, decoded in bounded chunks, encoded again."""
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, UInt8
from pycocotools import mask as coco_mask

# bytes of decoded pixels held at a time
CHUNK_BYTES = 2**25


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
    size, counts = list(map(int, rle['size'])), rle['counts']
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


def decode_rles(rles: Sequence[dict], height: int, width: int) -> UInt8[np.ndarray, 'N H W']:
    """Return the bitmaps (0 or 1) of ``rles``; memory lies in the order N, W, H."""
    if not rles:
        return np.zeros((0, height, width), dtype=np.uint8)
    return coco_mask.decode(list(rles)).transpose(2, 0, 1)


def encode_bitmaps(bitmaps: Bool[np.ndarray, 'N H W'] | UInt8[np.ndarray, 'N H W']) -> list[dict]:
    """Return one RLE per bitmap; non-zero pixels are inside."""
    if not len(bitmaps):
        return []
    # bool and uint8 share a byte layout only where uint8 is 0 or 1
    ones = bitmaps if bitmaps.dtype == bool else bitmaps != 0
    return coco_mask.encode(np.asfortranarray(ones.view(np.uint8).transpose(1, 2, 0)))


def map_rles(rles: Sequence[dict], height: int, width: int,
             change: Callable[[np.ndarray], np.ndarray]) -> list[dict]:
    """Decode ``rles``, apply ``change`` ((n, H, W) uint8 -> (n, H', W') uint8 of 0 and 1), and encode again."""
    changed = []
    for chunk in _chunks(rles, height * width):
        changed += encode_bitmaps(change(decode_rles(chunk, height, width)))
    return changed


def _chunks(rles: Sequence[dict], pixels: int) -> Iterator[Sequence[dict]]:
    step = max(1, CHUNK_BYTES // max(pixels, 1))
    for start in range(0, len(rles), step):
        yield rles[start:start + step]
