"""PNG files whose pixels are object ids: a palette image as DAVIS, MOSE and YouTube-VOS have, or one channel."""
import io
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from .atomic_file import write_atomically
from .json_file import require_file

#: Pillow's modes of one channel, whose values are ids
_ONE_CHANNEL = ('P', 'L', '1', 'I', 'I;16', 'I;16B')


def davis_palette(count: int = 256) -> np.ndarray:
    """(count, 3) uint8 RGB: the colours of Pascal VOC, which DAVIS uses; 0 is black.

    Bit k of a channel's reversed byte is bit 3 k + channel of the id (VOC development kit, ``VOCcolormap``).
    """
    ids = np.arange(count)
    palette = np.zeros((count, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= ((ids >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return palette


def read_id_png(path: str | Path) -> np.ndarray:
    """Return (H, W) ids of a palette or one-channel PNG: uint8, or int32 where ids are above 255. 0 is background.

    Raises:
        FileNotFoundError: no such file, with near names.
        ValueError: the file is no whole image, or has colours instead of ids.
    """
    content = require_file(path, 'mask PNG').read_bytes()
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.mode not in _ONE_CHANNEL:
                raise ValueError(f'{path} has the colours of mode {image.mode} instead of object ids; a palette PNG or '
                                 'one of one channel is needed. Saving masks through a viewer or cv2.imwrite turns ids '
                                 'into colours: write them as palette PNG again.')
            ids = np.asarray(image)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f'{path} is not a whole, readable PNG: {error}') from None
    return ids.astype(np.uint8) if ids.max(initial=0) < 256 else ids.astype(np.int32)


def read_palette(path: str | Path) -> np.ndarray | None:
    """Return the (256, 3) uint8 RGB palette of a PNG, black where it has fewer colours; None without a palette."""
    with Image.open(require_file(path, 'mask PNG')) as image:
        colours = image.getpalette() if image.mode == 'P' else None
    if colours is None:
        return None
    palette = np.zeros((256, 3), np.uint8)
    palette.reshape(-1)[:len(colours)] = colours
    return palette


def write_palette_png(ids: np.ndarray, path: str | Path, *, palette: np.ndarray | None = None) -> None:
    """Write (H, W) ids in [0, 255] as palette PNG, atomically.

    Args:
        palette: (256, 3) uint8 RGB; DAVIS' colours by default.

    Raises:
        ValueError: an id does not fit into a palette; ids above 255 need one PNG per object.
    """
    ids = np.asarray(ids)
    if ids.ndim != 2 or ids.min(initial=0) < 0 or ids.max(initial=0) > 255:
        raise ValueError(f'{path}: a palette PNG holds (H, W) ids from 0 to 255, got the shape {ids.shape} and values '
                         f'from {ids.min(initial=0)} to {ids.max(initial=0)}; write one PNG per object instead.')
    image = Image.fromarray(ids.astype(np.uint8))
    colours = davis_palette() if palette is None else np.asarray(palette, np.uint8)
    image.putpalette(colours.reshape(-1).tolist())
    stream = io.BytesIO()
    image.save(stream, format='PNG')
    write_atomically(path, stream.getvalue())
