"""LabelMe's JSON: one file an image."""
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .json_file import read_json_dict

CURVE_POINTS = 48


@dataclass(frozen=True)
class LabelMeShape:
    """One shape with an area: (P, 2) float64 corners x, y in pixels."""

    place: str
    label: str
    points: np.ndarray
    group: Any


@dataclass(frozen=True)
class LabelMeFile:
    """One file; ``problems`` lists shapes without an area (points, lines) and broken ones."""

    path: str
    image_name: str
    height: int | None
    width: int | None
    shapes: tuple[LabelMeShape, ...]
    problems: tuple[str, ...]


def read_labelme_json(path: str | Path) -> LabelMeFile:
    """Read one file; the embedded image is ignored.

    Raises:
        FileNotFoundError, ValueError: missing or broken file, or one without LabelMe's keys.
    """
    data = read_json_dict(path)
    for key in ('shapes', 'imagePath'):
        if key not in data:
            raise ValueError(f"{path} has no '{key}' (its keys: {', '.join(data) or 'none'}); it is not "
                             "LabelMe's JSON.")
    shapes, problems = [], []
    for number, shape in enumerate(data['shapes']):
        place = f'{Path(path).name}, shape {number}'
        try:
            shapes.append(LabelMeShape(place, shape['label'], _outline(shape), shape.get('group_id')))
        except (KeyError, TypeError, ValueError) as error:
            problems.append(f'{place}: {f"lacks {error}" if isinstance(error, KeyError) else error}')
    # Windows writes backslashes into imagePath
    name = data['imagePath'].replace('\\', '/')
    return LabelMeFile(str(path), name, data.get('imageHeight'), data.get('imageWidth'), tuple(shapes), tuple(problems))


def _outline(shape: dict) -> np.ndarray:
    """Corners of a shape; raises ValueError for shapes without an area."""
    kind = shape.get('shape_type') or 'polygon'
    points = np.asarray(shape['points'], np.float64)
    needed = {'polygon': 3, 'rectangle': 2, 'circle': 2}.get(kind)
    if needed is None:
        raise ValueError(f'shape_type {kind!r} has no area')
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < needed or not np.isfinite(points).all():
        raise ValueError(f'a {kind} needs at least {needed} points x, y; got an array of shape {points.shape}')
    if kind == 'rectangle':
        (x0, y0), (x1, y1) = points.min(0), points.max(0)
        return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    if kind == 'circle':  # centre and a point of the rim
        angles = np.linspace(0, 2 * np.pi, CURVE_POINTS, endpoint=False)
        radius = np.linalg.norm(points[1] - points[0])
        return points[0] + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
    return points
