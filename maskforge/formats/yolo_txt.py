"""YOLO's text files: one object a line, coordinates as shares of the image's width and height."""
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from .text_file import read_text_file


@dataclass(frozen=True)
class YoloObject:
    """One line: class number and (P, 2) float64 corners x, y in shares; ``is_box`` where the line gave a box."""

    place: str
    label: int
    points: np.ndarray
    is_box: bool


def read_yolo_txt(path: str | Path) -> list[YoloObject]:
    """Read one file of boxes (``class cx cy w h``) or polygons (``class x0 y0 x1 y1 x2 y2 ...``).

    Raises:
        FileNotFoundError, ValueError: missing file, or a line that is neither; the message names the line.
    """
    lines = read_text_file(path, 'YOLO label file').splitlines()
    return [_read_line(line.split(), f'{path}, line {number}') for number, line in enumerate(lines, 1) if line.strip()]


def read_yolo_names(path: str | Path) -> list[str]:
    """Read class names from ``data.yaml`` (key ``names``: list, or object by number) or a text file, one a line.

    Raises:
        FileNotFoundError, ValueError: missing file or no names in it.
    """
    text = read_text_file(path, 'file of class names')
    if Path(path).suffix.lower() not in ('.yaml', '.yml'):
        names = [line.strip() for line in text.splitlines() if line.strip()]
    else:
        names = (yaml.safe_load(text) or {}).get('names')
        if isinstance(names, dict):
            names = [names[number] for number in range(len(names))] if set(names) == set(range(len(names))) else None
    if not names:
        raise ValueError(f"{path} has no class names; a data.yaml has 'names', numbered from 0 without gaps, a text "
                         'file has one name a line.')
    return [str(name) for name in names]


def _read_line(fields: list[str], place: str) -> YoloObject:
    try:
        label, values = int(fields[0]), np.array([float(text) for text in fields[1:]])
    except ValueError:
        raise ValueError(f'{place}: {" ".join(fields[:6])!r} is not a class number followed by numbers.') from None
    if label < 0 or not all(math.isfinite(value) for value in values):
        raise ValueError(f'{place}: class {label} and coordinates must be finite and not negative.')
    if len(values) == 4:
        cx, cy, width, height = values
        low, high = (cx - width / 2, cy - height / 2), (cx + width / 2, cy + height / 2)
        return YoloObject(place, label, np.array([low, (high[0], low[1]), high, (low[0], high[1])]), True)
    if len(values) < 6 or len(values) % 2:
        raise ValueError(f'{place} has {len(values)} coordinates; a box has 4, a polygon at least 6, '
                         'in pairs.')
    return YoloObject(place, label, values.reshape(-1, 2), False)
