"""Tiny videos in the layouts of DAVIS, SA-V, YouTube-VOS and SA-1B: squares that move to the right."""
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskforge.formats import rle
from maskforge.formats.palette_png import write_palette_png

HEIGHT, WIDTH = 24, 32


def square(frame: int, object_id: int, *, shape=(HEIGHT, WIDTH)) -> np.ndarray:
    """(H, W) bool: object k is a square of 4 pixels that starts at column 2 + 2 k and moves by 2 a frame."""
    mask = np.zeros(shape, bool)
    mask[4 * object_id:4 * object_id + 4, 2 + 2 * object_id + 2 * frame:][:, :4] = True
    return mask


def picture(frame: int, seed: int = 0) -> np.ndarray:
    """A smooth colour picture with the squares in it."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([rows * 8, columns * 6, (rows + columns + 20 * seed) % 256], -1).astype(np.uint8)
    for number in (1, 2):
        image[square(frame, number)] = (40, 90 * number, 220)
    return image


@pytest.fixture
def write_video():
    """Write frames and palette masks of a video in DAVIS' layout."""
    def write(root: Path, name: str, *, frames: int = 6, suffix: str = '.png', objects=(1, 2), masked=None,
              names=None) -> None:
        (root / 'JPEGImages' / name).mkdir(parents=True)
        (root / 'Annotations' / name).mkdir(parents=True)
        for frame in range(frames):
            stem = f'{frame:05d}' if names is None else names[frame]
            cv2.imwrite(str(root / 'JPEGImages' / name / f'{stem}{suffix}'), picture(frame))
            ids = np.zeros((HEIGHT, WIDTH), np.uint8)
            for number in objects:
                ids[square(frame, number)] = number
            if masked is None or frame in masked:
                write_palette_png(ids, root / 'Annotations' / name / f'{stem}.png')
    return write


@pytest.fixture
def davis(tmp_path, write_video) -> Path:
    """Three videos of six frames; names have dots."""
    for name in ('bear', 'cat.v1.2', 'dog'):
        write_video(tmp_path, name)
    return tmp_path


@pytest.fixture
def write_sav():
    """Write a video of eight frames in SA-V's layout, annotated every second frame."""
    def write(root: Path, name: str = 'sav_1', *, change=lambda data: data, frames: int = 8) -> None:
        (root / 'frames' / name).mkdir(parents=True)
        (root / 'json').mkdir(exist_ok=True)
        for frame in range(frames):
            cv2.imwrite(str(root / 'frames' / name / f'{frame:05d}.jpg'), picture(frame))
        masklet = [[rle.to_json(rle.encode(square(frame, number))) for number in (1, 2)]
                   for frame in range(0, frames, 2)]
        data = change(dict(masklet=masklet, masklet_id=[4, 7], fps=12.0))
        (root / 'json' / f'{name}_manual.json').write_text(json.dumps(data))
    return write


@pytest.fixture
def write_sa1b():
    """Write pictures in SA-1B's layout."""
    def write(root: Path, name: str = 'sa_1', *, change=lambda records: records, suffix: str = '.jpg') -> None:
        (root / 'img').mkdir(exist_ok=True)
        cv2.imwrite(str(root / 'img' / f'{name}{suffix}'), picture(0))
        masks = [square(0, 1), square(0, 2), np.ones((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), bool)]
        records = [dict(id=number, segmentation=rle.to_json(rle.encode(mask)), area=int(mask.sum()),
                        predicted_iou=0.6 + 0.1 * number) for number, mask in enumerate(masks)]
        data = dict(image=dict(height=HEIGHT, width=WIDTH, file_name=f'{name}{suffix}'), annotations=change(records))
        (root / 'img' / f'{name}.json').write_text(json.dumps(data))
    return write
