"""What to follow in a video: prompts from a JSON file, or masks of its first frames from PNGs."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskforge.formats.json_file import read_json
from maskforge.formats.palette_png import read_id_png
from maskforge.structures import InstanceMasks

KEYS = ('object', 'frame', 'points', 'labels', 'box', 'mask')


@dataclass
class VideoPrompt:
    """One prompt of one object on one frame.

    Attributes:
        object_id: 1 to 255 for palette PNGs.
        frame: number, from 0.
        points, labels, box: see :class:`~maskforge.models.sam2.VideoSession`.
        mask: (H, W) bool; alone.
    """

    object_id: int
    frame: int
    points: np.ndarray | None = None
    labels: np.ndarray | None = None
    box: np.ndarray | None = None
    mask: np.ndarray | None = None


def read_video_prompts(path: str | Path) -> list[VideoPrompt]:
    """Read ``[{"object": 1, "frame": 0, "points": [[x, y]], "labels": [1], "box": [x0, y0, x1, y1]}, ...]``.

    Coordinates are pixels of the frames; ``mask`` may take the place of points and box: a COCO RLE, or the path of a
    PNG (beside the file) whose pixels other than 0 are the object.

    Raises:
        FileNotFoundError, ValueError: the file, or what is wrong with which record.
    """
    records = read_json(path)
    if not isinstance(records, list) or not records:
        raise ValueError(f'{path} must be a list of prompts, [{{"object": 1, "frame": 0, "points": ...}}, ...].')
    return [_prompt(record, f'{path}: prompt {index}', Path(path).parent) for index, record in enumerate(records)]


def read_first_masks(path: str | Path, names: Sequence[str]) -> list[VideoPrompt]:
    """Read ids from a PNG (of the first frame), or from the PNGs of a folder that are named as frames are.

    Every object is prompted once, by its mask on the first frame that shows it.

    Args:
        names: of the frames, without endings.

    Raises:
        FileNotFoundError: no such file or folder, or no PNG in it.
        ValueError: a PNG that is named as no frame, or shows no object.
    """
    path = Path(path)
    files = sorted(path.glob('*.png')) if path.is_dir() else [path]
    if not files:
        raise FileNotFoundError(f"the folder '{path}' has no PNG with masks.")
    places = {name: place for place, name in enumerate(names)} if path.is_dir() else {path.stem: 0}
    prompts: dict[int, VideoPrompt] = {}
    for file in files:
        if file.stem not in places:
            raise ValueError(f"'{file}' is named as no frame of the video; frames are {names[0]} to {names[-1]}.")
        ids = read_id_png(file)
        for number in np.setdiff1d(np.unique(ids), [0, *prompts]).tolist():
            prompts[number] = VideoPrompt(number, places[file.stem], mask=ids == number)
    if not prompts:
        raise ValueError(f"'{path}' shows no object: all pixels are 0.")
    return list(prompts.values())


def _prompt(record: Any, where: str, folder: Path) -> VideoPrompt:
    if not isinstance(record, dict):
        raise ValueError(f'{where} must be an object with {", ".join(KEYS)}, got {type(record).__name__}.')
    unknown = sorted(set(record) - set(KEYS))
    if unknown:
        raise ValueError(f'{where} has the key {unknown[0]!r}; keys are {", ".join(KEYS)}.')
    for key in ('object', 'frame'):
        if not isinstance(record.get(key), int) or record[key] < (key == 'object'):
            raise ValueError(f'{where}: {key} must be a whole number from {int(key == "object")} on, got '
                             f'{record.get(key)!r}.')
    given = {key: np.array(record[key]) for key in ('points', 'labels', 'box') if record.get(key) is not None}
    has_mask = record.get('mask') is not None
    if bool(given) == has_mask:
        raise ValueError(f'{where} needs points with labels, a box or both, or else a mask'
                         f'{"; it has both" if has_mask else ""}.')
    return VideoPrompt(record['object'], record['frame'], **given,
                       mask=_mask(record['mask'], where, folder) if has_mask else None)


def _mask(given: Any, where: str, folder: Path) -> np.ndarray:
    if isinstance(given, str):
        return read_id_png(folder / given) != 0
    try:
        return InstanceMasks.from_rles([given]).to_bitmaps()[0]
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f'{where}: mask must be a COCO RLE (size, counts) or the path of a PNG: {error}') from None
