"""Frames of video files, and folders of frames made of them: whole or not at all."""
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from .json_file import read_json_dict, require_file

VIDEO_SUFFIXES = ('.mp4', '.mov', '.avi', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg')
#: lists a finished folder's facts; hidden, so that no reader of frames takes it for one
MARKER = '.frames.json'
# containers count their frames only roughly
_LOST_PART, _LOST_FRAMES = 0.01, 2


def read_frames(path: str | Path, *, every: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (number, (H, W, 3) uint8 BGR) of the frames 0, ``every``, 2 ``every`` ...

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no video, or ends before the number of frames that it announces.
    """
    capture = cv2.VideoCapture(str(require_file(path, 'video')))
    try:
        announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        number = 0
        while capture.grab():
            if number % every == 0:
                decoded, image = capture.retrieve()
                if not decoded:
                    raise ValueError(f'{path}: frame {number} cannot be decoded; copy or download the file again.')
                yield number, image
            number += 1
    finally:
        capture.release()
    if number == 0:
        raise ValueError(f'{path} is no video that OpenCV can read; copy or download it again, or convert it.')
    if number < announced - max(_LOST_FRAMES, _LOST_PART * announced):
        raise ValueError(f'{path} ends after {number} of {announced} frames; copy or download it again.')


def extract_frames(path: str | Path, folder: str | Path, *, every: int = 1, quality: int = 95) -> tuple[int, bool]:
    """Write every ``every``-th frame of a video as ``folder/{number of the frame:05d}.jpg``.

    The folder appears when all frames are there, so an existing one is complete and is left as it is.

    Args:
        path: the video.
        folder: that of its frames.
        every: distance of the frames.
        quality: of the JPEG files, 1 to 100.

    Returns:
        the number of frames, and whether the folder was there already.

    Raises:
        FileNotFoundError, ValueError: a video that cannot be read to its end; a folder that was made with other
            settings, of another file, or by other means.
    """
    path, folder = Path(path), Path(folder)
    facts = dict(video=path.name, bytes=require_file(path, 'video').stat().st_size, every=every, quality=quality)
    if folder.exists():
        return _finished(folder, facts), True
    partial = folder.with_name(f'.{folder.name}.partial')
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        number = 0
        for frame, image in read_frames(path, every=every):
            target = partial / f'{frame:05d}.jpg'
            if not cv2.imwrite(str(target), image, [cv2.IMWRITE_JPEG_QUALITY, quality]):
                raise OSError(f'{target} cannot be written; is the disk full?')
            number += 1
        (partial / MARKER).write_text(json.dumps({**facts, 'frames': number}), encoding='utf-8')
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return number, False


def try_extract(job: tuple[Path, Path, int, int]) -> tuple[Path, int, bool, str]:
    """:func:`extract_frames` for a pool of processes: this module is light to import, and a broken video ends nothing.

    Args:
        job: video, folder, distance of the frames, quality.

    Returns:
        the video, its frames, whether they were there, and what is wrong with it ('' for nothing).
    """
    path, folder, every, quality = job
    try:
        return (path, *extract_frames(path, folder, every=every, quality=quality), '')
    except (FileNotFoundError, ValueError, cv2.error) as error:  # not OSError: a full disk ends the run
        return path, 0, False, ' '.join(str(error).split())


def _finished(folder: Path, facts: dict) -> int:
    """Number of frames of a folder that was made from the same file with the same settings."""
    if not (folder / MARKER).is_file():
        raise ValueError(f'{folder} exists, but was not made by this command; remove it, or write elsewhere.')
    found = read_json_dict(folder / MARKER)
    other = [f'{name}={found.get(name)!r} (now {value!r})' for name, value in facts.items() if found.get(name) != value]
    if other:
        raise ValueError(f'{folder} was made with {", ".join(other)}; remove it, or write elsewhere.')
    return int(found['frames'])
