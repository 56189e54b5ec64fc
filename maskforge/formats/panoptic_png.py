"""COCO's panoptic images: segment ids in the colours of a PNG, id = R + 256 G + 256^2 B."""
from pathlib import Path

import cv2
import numpy as np

from .atomic_file import write_atomically
from .json_file import require_file
from .whole_image import check_whole


def read_panoptic_png(path: str | Path) -> np.ndarray:
    """Return (H, W) int32 segment ids; 0 is void.

    Raises:
        FileNotFoundError, ValueError: no such file, or no image.
    """
    content = require_file(path, 'panoptic PNG').read_bytes()
    check_whole(content, str(path))
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    if image is None:
        raise ValueError(f'{path} is not a readable PNG.')
    # red, green, blue and a constant are the bytes of one number, the lowest first
    packed = cv2.cvtColor(image, cv2.COLOR_BGR2RGBA).view('<u4')[..., 0]
    return (packed & 0xFFFFFF).astype(np.int32)


def write_panoptic_png(segment_ids: np.ndarray, path: str | Path) -> None:
    """Write (H, W) segment ids in [0, 2**24)."""
    ids = np.asarray(segment_ids, np.int64)
    if ids.min(initial=0) < 0 or ids.max(initial=0) >= 2**24:
        raise ValueError(f'{path}: segment ids must be in [0, 2**24), got {ids.min()} to {ids.max()}.')
    write_png(np.stack([ids >> 16, ids >> 8 & 255, ids & 255], -1).astype(np.uint8), path)


def write_png(image: np.ndarray, path: str | Path) -> None:
    """Write (H, W) uint8 or uint16, or (H, W, 3) BGR uint8 as PNG, atomically."""
    write_atomically(path, cv2.imencode('.png', image)[1].tobytes())
