"""Predicted masks of a video as PNG files, in the layouts that evaluators and annotation tools read."""
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from . import rle
from .palette_png import write_palette_png
from .panoptic_png import write_png

#: 'palette' is one PNG a frame, 'objects' one folder an object
LAYOUTS = ('palette', 'objects')
_INSIDE = 255


def write_video_masks(folder: str | Path, masks: Mapping[int, Sequence[dict | np.ndarray | None]],
                      frame_names: Sequence[str], *, size: tuple[int, int], layout: str = 'palette',
                      palette: np.ndarray | None = None) -> None:
    """Write all masks of a video; every frame gets its file (or files), also where no object is to be seen.

    Args:
        folder: of the video, ``OUTPUT/video_name``.
        masks: object id -> T masks as in :func:`write_frame_masks`.
        frame_names: T names, without extension.
        size, layout, palette: see :func:`write_frame_masks`.

    Raises:
        ValueError: an object has another number of masks than there are frames; see also
            :func:`write_frame_masks`.
    """
    for number, items in masks.items():
        if len(items) != len(frame_names):
            raise ValueError(f'{folder}: object {number} has {len(items)} masks, the video {len(frame_names)} frames.')
    for place, name in enumerate(frame_names):
        write_frame_masks(folder, name, {number: items[place] for number, items in masks.items()}, size=size,
                          layout=layout, palette=palette)


def write_frame_masks(folder: str | Path, frame_name: str, masks: Mapping[int, dict | np.ndarray | None], *,
                      size: tuple[int, int], layout: str = 'palette', palette: np.ndarray | None = None) -> None:
    """Write the masks of one frame, atomically.

    ``'palette'``: ``folder/frame.png``, pixels are object ids; where masks overlap, the smallest id is written.
    ``'objects'``: ``folder/007/frame.png`` for object 7, 255 inside and 0 outside.

    Args:
        folder: of the video.
        frame_name: without extension.
        masks: object id -> COCO RLE, (H, W) bool array, or None where the object is not to be seen.
        size: (height, width) of the frame.
        layout: see above.
        palette: (256, 3) uint8 RGB; the colours of DAVIS by default.

    Raises:
        ValueError: an unknown layout, a mask of another size, an id that the layout cannot hold.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout={layout!r}: allowed are 'palette' (one PNG a frame) and 'objects' (one folder an "
                         'object).')
    folder = Path(folder)
    bitmaps = {number: _bitmap(mask, size, f'{folder}, frame {frame_name}, object {number}')
               for number, mask in masks.items()}
    if layout == 'objects':
        for number, bitmap in bitmaps.items():
            write_png(bitmap.astype(np.uint8) * _INSIDE, folder / object_folder_name(number) / f'{frame_name}.png')
        return
    if any(not 0 < number < 256 for number in bitmaps):
        raise ValueError(f'{folder}: a palette PNG holds object ids from 1 to 255, got '
                         f"{sorted(number for number in bitmaps if not 0 < number < 256)}; layout='objects' holds "
                         'any id.')
    ids = np.zeros(size, np.uint8)
    for number in sorted(bitmaps, reverse=True):
        ids[bitmaps[number]] = number
    write_palette_png(ids, folder / f'{frame_name}.png', palette=palette)


def object_folder_name(object_id: int) -> str:
    """Name of an object's folder: at least three digits, as SA-V has them."""
    if object_id < 0:
        raise ValueError(f'object id {object_id}: ids are not negative.')
    return f'{object_id:03d}'


def _bitmap(mask: dict | np.ndarray | None, size: tuple[int, int], where: str) -> np.ndarray:
    if mask is None:
        return np.zeros(size, bool)
    found = tuple(mask['size']) if isinstance(mask, Mapping) else np.shape(mask)
    if found != tuple(size):
        raise ValueError(f'{where}: the mask has the size {found}, the frame {tuple(size)} (height, width).')
    return rle.decode(mask) if isinstance(mask, Mapping) else np.asarray(mask).astype(bool)
