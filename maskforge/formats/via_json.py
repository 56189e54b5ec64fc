"""VGG Image Annotator's JSON (versions 1 and 2): one entry an image, one region an object."""
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .json_file import read_json_dict
from .segmentation_column import polygon_problem

#: corners of the polygon that stands for a circle or an ellipse
CURVE_POINTS = 48


@dataclass(frozen=True)
class ViaRegion:
    """One region: its outline, (P, 2) float64 x, y as clicked, and its attributes (class names live there)."""

    place: str
    points: np.ndarray
    attributes: dict[str, Any]


@dataclass(frozen=True)
class ViaImage:
    """One image and its regions; ``problems`` lists regions that have no area (points, lines) or are broken."""

    file_name: str
    regions: tuple[ViaRegion, ...]
    problems: tuple[str, ...]


def read_via_json(path: str | Path) -> list[ViaImage]:
    """Read a file as VIA's *Export annotations (as JSON)* or *Save project* writes it.

    Raises:
        FileNotFoundError, ValueError: missing or broken file, or an entry that is no VIA image.
    """
    data = read_json_dict(path)
    entries = data.get('_via_img_metadata', data)
    images = []
    if not isinstance(entries, dict):
        raise ValueError(f"{path}: '_via_img_metadata' is a {type(entries).__name__}; an object with one entry an "
                         f"image is needed.")
    for key, entry in entries.items():
        if not isinstance(entry, dict) or not isinstance(entry.get('filename'), str) or 'regions' not in entry:
            raise ValueError(f"{path}: entry {key!r} has no 'filename' and 'regions'; it is not VIA's JSON.")
        regions = entry['regions']  # version 1 numbers them in an object
        regions = list(regions.values()) if isinstance(regions, dict) else regions
        if not isinstance(regions, list):
            raise ValueError(f"{path}: entry {key!r} has regions={regions!r}; a list is needed.")
        images.append(_read_image(entry['filename'], regions))
    return images


def _read_image(file_name: str, regions: list[dict]) -> ViaImage:
    found, problems = [], []
    for number, region in enumerate(regions):
        place = f'{file_name}, region {number}'
        try:
            points, attributes = _outline(region['shape_attributes']), dict(region.get('region_attributes') or {})
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            reason = f'lacks {error}' if isinstance(error, KeyError) else str(error)
            problems.append(f'{place}: {reason}')
            continue
        found.append(ViaRegion(place, points, attributes))
    return ViaImage(file_name, tuple(found), tuple(problems))


def _outline(shape: dict) -> np.ndarray:
    """Corners of a region; raises ValueError for shapes without an area."""
    name = shape['name']
    if name in ('polygon', 'polyline') and 'all_points_x' in shape:
        if name == 'polyline':
            raise ValueError('a polyline has no area')
        if len(shape['all_points_x']) != len(shape['all_points_y']):
            raise ValueError(f'{len(shape["all_points_x"])} x and {len(shape["all_points_y"])} y coordinates')
        points = np.stack([np.asarray(shape[f'all_points_{axis}'], np.float64) for axis in 'xy'], 1)
    elif name == 'rect':
        x, y, width, height = (float(shape[key]) for key in ('x', 'y', 'width', 'height'))
        points = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
    elif name in ('circle', 'ellipse'):
        points = _ellipse(shape)
    else:
        raise ValueError(f'shape {name!r} has no area')
    problem = polygon_problem(points.ravel())
    if problem:
        raise ValueError(problem)
    return points


def _ellipse(shape: dict) -> np.ndarray:
    rx, ry = (float(shape['r']),) * 2 if shape['name'] == 'circle' else (float(shape['rx']), float(shape['ry']))
    angles, turn = np.linspace(0, 2 * np.pi, CURVE_POINTS, endpoint=False), float(shape.get('theta', 0))
    x, y = rx * np.cos(angles), ry * np.sin(angles)
    return np.stack([shape['cx'] + x * np.cos(turn) - y * np.sin(turn),
                     shape['cy'] + x * np.sin(turn) + y * np.cos(turn)], 1)
