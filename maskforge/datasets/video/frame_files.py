"""The image files of a folder as the frames of a video, and the folder of their masks."""
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from maskforge.formats.image_header import IMAGE_SUFFIXES


class VideoFrame(NamedTuple):
    """One frame: its number in the video, its name (without folder and extension), its file."""

    number: int
    name: str
    path: str


def list_frames(folder: str | Path) -> list[VideoFrame]:
    """Frames of a folder, of any image type, in the order of their numbers.

    Names that are whole numbers give the frame's number; other names are sorted and numbered from 0.

    Raises:
        FileNotFoundError: the folder does not exist or holds no image.
        ValueError: two files are the same frame.
    """
    files = sorted(path for path in require_folder(folder, 'video folder').iterdir()
                   if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith('.'))
    if not files:
        raise FileNotFoundError(f'video folder {folder} holds no frames ({", ".join(IMAGE_SUFFIXES)}).')
    counted = all(path.stem.isdecimal() for path in files)
    keyed = {}
    for place, path in enumerate(files):
        key = int(path.stem) if counted else path.stem
        if key in keyed:
            raise ValueError(f'{keyed[key].path} and {path} are the same frame; remove one of them.')
        keyed[key] = VideoFrame(int(path.stem) if counted else place, path.stem, str(path))
    return [keyed[key] for key in sorted(keyed)]


def match_masks(frames: Sequence[VideoFrame], folder: Path) -> dict[str, Path]:
    """Name of a frame -> its mask PNG in ``folder``, by name or, where names are numbers, by number.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: it has masks, but none belongs to a frame.
    """
    files = {path.stem: path for path in require_folder(folder, 'folder of masks').iterdir()
             if path.suffix.lower() == '.png'}
    numbers = {int(stem): path for stem, path in files.items() if stem.isdecimal()}
    counted = all(frame.name.isdecimal() for frame in frames)
    found = {frame.name: files.get(frame.name) or (numbers.get(frame.number) if counted else None) for frame in frames}
    matched = {name: path for name, path in found.items() if path is not None}
    if files and not matched:
        raise ValueError(f'none of the {len(files)} masks in {folder} (such as {min(files)}.png) belongs to a frame; '
                         f'frames are named as {frames[0].path}. Masks need the names of their frames.')
    return matched


def require_folder(folder: str | Path, what: str) -> Path:
    """Return the folder.

    Raises:
        FileNotFoundError: there is none; the message has near names.
    """
    folder = Path(folder)
    if folder.is_dir():
        return folder
    parent = folder.parent
    if not parent.is_dir():
        raise FileNotFoundError(f'{what} {folder} does not exist, nor does {parent}.')
    near = difflib.get_close_matches(folder.name, sorted(path.name for path in parent.iterdir()), n=2, cutoff=0.5)
    hint = f'did you mean {" or ".join(near)}?' if near else f'nothing in {parent} has a near name.'
    raise FileNotFoundError(f'{what} {folder} does not exist; {hint}')
