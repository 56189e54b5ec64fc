"""The folders that hold masks of a video: one PNG a frame (DAVIS), or one folder an object (SA-V)."""
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .palette_png import read_id_png

_SHOWN = 3


@dataclass(frozen=True)
class MaskTrack:
    """Mask files that are scored together.

    Attributes:
        folder: of the files.
        names: file names, sorted.
        object_name: name of the object's folder where every object has its own; None where pixels are object ids.
    """

    folder: Path
    names: tuple[str, ...]
    object_name: str | None = None

    def read(self, name: str, *, folder: Path | None = None) -> np.ndarray:
        """Return one file's (H, W) ids; 0 and 1 in an object's own file.

        Args:
            name: of the file.
            folder: another folder of the same layout (predictions).

        Raises:
            FileNotFoundError, ValueError: no such file, no ids in it, or several objects in an object's own file.
        """
        path = (self.folder if folder is None else folder) / name
        ids = read_id_png(path)
        if self.object_name is None:
            return ids
        values = np.flatnonzero(np.bincount(ids.ravel())) if ids.dtype == np.uint8 else np.unique(ids)
        if len(values) > 2 or (len(values) == 2 and values[0] != 0):
            raise ValueError(f'{path} has the values {", ".join(map(str, values[:5]))}: in a folder of one object a '
                             'mask has 0 and one other value. Where pixels are ids of several objects, the PNGs lie '
                             "in the video's own folder.")
        return (ids != 0).astype(np.uint8)


def scan_masks(folder: str | Path) -> list[MaskTrack]:
    """The mask files of one video: a single track of all objects, or one track an object.

    Hidden files are passed over.

    Raises:
        FileNotFoundError: no such folder, or nothing in it.
        ValueError: files that are no PNG, or PNGs beside folders.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f'folder of masks {folder} does not exist.')
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith('.'))
    if not entries:
        raise FileNotFoundError(f'{folder} is empty; masks are {folder.name}/FRAME.png or {folder.name}/OBJECT/'
                                'FRAME.png.')
    objects = [path for path in entries if path.is_dir()]
    if not objects:
        return [MaskTrack(folder, _mask_names(entries))]
    if len(objects) < len(entries):
        file = next(path for path in entries if not path.is_dir())
        raise ValueError(f'{folder} holds files ({file.name}) beside folders ({objects[0].name}): it is either one PNG '
                         'a frame or one folder an object. Move away what does not belong.')
    tracks = []
    for path in objects:
        files = sorted(file for file in path.iterdir() if not file.name.startswith('.'))
        tracks.append(MaskTrack(path, _mask_names(files), path.name))
    return tracks


def split_ids(ids: np.ndarray) -> dict[int, np.ndarray]:
    """(H, W) ids as object id -> (H, W) bool mask; 0 is background."""
    if ids.dtype == np.uint8:
        # quicker than counting in NumPy, and much quicker than sorting
        present = np.flatnonzero(cv2.calcHist([np.ascontiguousarray(ids)], [0], None, [256], [0, 256]))
    else:
        present = np.unique(ids)
    return {int(number): ids == number for number in present if number != 0}


def _mask_names(files: list[Path]) -> tuple[str, ...]:
    other = [str(path) for path in files if path.suffix.lower() != '.png' or path.is_dir()]
    if other:
        more = f' and {len(other) - _SHOWN} more' if len(other) > _SHOWN else ''
        raise ValueError(f'{", ".join(other[:_SHOWN])}{more}: masks are PNG files; move away what is none.')
    return tuple(path.name for path in files)
