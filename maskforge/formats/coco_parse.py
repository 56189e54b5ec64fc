"""One pass over the records of a COCO file: plain columns, and a finding for every record that is not sound."""
from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .defect import Defect
from .rle import LARGEST_SIDE
from .segmentation_column import SegmentationColumn

#: a box may stick out of its image by this many pixels (rounding) without being mentioned
OVERHANG = 1.0
#: ids are kept in 64 bits
LARGEST_ID = 2**63 - 1


@dataclass
class Images:
    """Columns of the ``images`` list; row = position in the file."""

    ids: np.ndarray
    names: list[str]
    sizes: np.ndarray  # (N, 2) height, width

    def row_of(self) -> dict[int, int]:
        """Map image id to row."""
        return {identity: row for row, identity in enumerate(self.ids.tolist())}


@dataclass
class Annotations:
    """Columns of the ``annotations`` list, without the records that cannot be used at all."""

    ids: np.ndarray
    image_rows: np.ndarray
    category_rows: np.ndarray
    boxes: np.ndarray  # (N, 4) float64 x, y, width, height as written
    areas: np.ndarray  # NaN where the file has none
    crowd: np.ndarray
    usable: np.ndarray  # False: box without extent, or marked 'ignore'; training leaves it out
    segmentations: SegmentationColumn


@dataclass
class _Columns:
    """Annotation columns while they grow."""

    ids: array = field(default_factory=lambda: array('q'))
    positions: array = field(default_factory=lambda: array('q'))
    images: array = field(default_factory=lambda: array('i'))
    categories: array = field(default_factory=lambda: array('i'))
    boxes: array = field(default_factory=lambda: array('d'))
    areas: array = field(default_factory=lambda: array('d'))
    crowd: array = field(default_factory=lambda: array('b'))
    ignore: array = field(default_factory=lambda: array('b'))
    segmentations: SegmentationColumn = field(default_factory=SegmentationColumn)


def parse_images(records: list, defects: list[Defect]) -> Images:
    """Read the ``images`` list; what is not sound goes to ``defects``."""
    ids, names, sizes = array('q'), [], array('q')
    for position, record in enumerate(records):
        problem = _image_problem(record)
        if problem:
            defects.append(Defect(f'images[{position}]', problem, 'fatal'))
            continue
        ids.append(record['id'])
        names.append(record['file_name'])
        sizes.extend((record['height'], record['width']))
    columns = Images(np.array(ids, np.int64), names, np.array(sizes, np.int64).reshape(-1, 2))
    _find_duplicates(columns.ids, 'image', defects)
    return columns


def parse_categories(records: list, defects: list[Defect]) -> tuple[np.ndarray, list[str]]:
    """Read the ``categories`` list; ids and names, sorted by id."""
    found = []
    for position, record in enumerate(records):
        problem = _key_problem(record, {'id': int, 'name': str})
        if problem:
            defects.append(Defect(f'categories[{position}]', problem, 'fatal'))
        else:
            found.append((record['id'], record['name']))
    found.sort(key=lambda pair: pair[0])
    ids, names = np.array([pair[0] for pair in found], np.int64), [pair[1] for pair in found]
    _find_duplicates(ids, 'category', defects)
    twice = sorted({name for name in names if names.count(name) > 1})
    defects.extend(Defect(f"category '{name}'", 'has this name under two ids', 'fatal') for name in twice)
    return ids, names


def parse_annotations(records: list, images: Images, category_ids: np.ndarray, defects: list[Defect]) -> Annotations:
    """Read the ``annotations`` list; records with an error are left out of the columns and go to ``defects``."""
    image_rows = images.row_of()
    category_rows = {identity: row for row, identity in enumerate(category_ids.tolist())}
    sizes = images.sizes.tolist()
    columns = _Columns()
    for position, record in enumerate(records):
        try:
            problem = _append(columns, record, position, image_rows, category_rows, sizes)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
            defects.append(_explain(record, position, image_rows, category_rows))
            continue
        if problem:
            row = image_rows[record['image_id']]
            defects.append(Defect(_name(record['id'], position, images.names[row]), problem))
    found = _freeze(columns)
    _find_duplicates(found.ids, 'annotation', defects)
    keep = _check_boxes(found, np.array(columns.positions), images, defects)
    return _keep(found, keep)


def _append(columns: _Columns, record: dict, position: int, image_rows: dict, category_rows: dict,
            sizes: list) -> str | None:
    """Add a record to the columns, or return what is wrong with its mask; nothing is added then, or if it raises."""
    image, category, identity = image_rows[record['image_id']], category_rows[record['category_id']], record['id']
    box = array('d', record['bbox'])
    area = float(record.get('area', np.nan))
    if type(identity) is not int or abs(identity) > LARGEST_ID or len(box) != 4:
        raise ValueError
    height, width = sizes[image]
    problem = columns.segmentations.append(record.get('segmentation'), height=height, width=width)
    if problem:
        columns.segmentations.drop_last()
        return problem
    columns.ids.append(identity)
    columns.positions.append(position)
    columns.images.append(image)
    columns.categories.append(category)
    columns.boxes.extend(box)
    columns.areas.append(area)
    columns.crowd.append(bool(record.get('iscrowd', 0)))
    columns.ignore.append(bool(record.get('ignore', 0)))
    return None


def _freeze(columns: _Columns) -> Annotations:
    boxes = np.array(columns.boxes, np.float64).reshape(-1, 4)
    usable = (boxes[:, 2:] > 0).all(1) & ~np.array(columns.ignore, bool)
    return Annotations(np.array(columns.ids, np.int64), np.array(columns.images, np.int32),
                       np.array(columns.categories, np.int32), boxes, np.array(columns.areas, np.float64),
                       np.array(columns.crowd, bool), usable, columns.segmentations)


def _keep(found: Annotations, rows: np.ndarray) -> Annotations:
    """Leave the other rows out."""
    if rows.all():
        return found
    found.segmentations.keep(np.flatnonzero(rows).tolist())
    columns = (found.ids, found.image_rows, found.category_rows, found.boxes, found.areas, found.crowd, found.usable)
    return Annotations(*(column[rows] for column in columns), found.segmentations)


def _check_boxes(found: Annotations, positions: np.ndarray, images: Images, defects: list[Defect]) -> np.ndarray:
    """Judge all boxes at once; returns the rows to keep."""
    sizes = images.sizes[found.image_rows].reshape(-1, 2)[:, ::-1]  # width, height
    low, extent = found.boxes[:, :2], found.boxes[:, 2:]
    with np.errstate(invalid='ignore', over='ignore'):
        high = low + extent
        finite = np.isfinite(high).all(1)
        empty = finite & (extent <= 0).any(1)
        outside = finite & ~empty & ((low >= sizes) | (high <= 0)).any(1)
        overhang = np.maximum(-low, high - sizes).max(1, initial=0)
    beyond = finite & ~empty & ~outside & (overhang > OVERHANG)

    def report(rows: np.ndarray, problem: str, severity: str) -> None:
        for row in np.flatnonzero(rows):
            box, (width, height) = found.boxes[row].tolist(), sizes[row].tolist()
            text = problem.format(box=box, width=width, height=height, overhang=overhang[row])
            image = images.names[found.image_rows[row]]
            defects.append(Defect(_name(found.ids[row], int(positions[row]), image), text, severity))

    report(~finite, 'bbox {box} has a value that is not finite', 'error')
    report(outside, 'bbox {box} (x, y, width, height) lies outside the image of {width} x {height} pixels', 'error')
    report(empty, 'bbox {box} has no extent; it is left out of training', 'warning')
    report(beyond, 'bbox {box} sticks out of the image of {width} x {height} pixels by {overhang:.1f}; '
                   'it is clipped in training', 'warning')
    return finite & ~outside


def _find_duplicates(ids: np.ndarray, what: str, defects: list[Defect]) -> None:
    unique, counts = np.unique(ids, return_counts=True)
    for identity, count in zip(unique[counts > 1], counts[counts > 1]):
        defects.append(Defect(f'{what} id {identity}', f'is used {count} times; ids must be unique', 'fatal'))


def _name(identity: Any, position: int, image: str) -> str:
    return f'annotation {identity} (annotations[{position}], image {image})'


def _image_problem(record: Any) -> str | None:
    problem = _key_problem(record, {'id': int, 'file_name': str, 'height': int, 'width': int})
    if problem is None and not all(0 < record[side] <= LARGEST_SIDE for side in ('height', 'width')):
        problem = f'({record["file_name"]}) has size {record["width"]} x {record["height"]}'
    return problem


def _key_problem(record: Any, types: dict[str, type]) -> str | None:
    """Say which key is missing or has the wrong type."""
    if not isinstance(record, dict):
        return f'is {record!r}; an object {{...}} is needed'
    for key, kind in types.items():
        if key not in record:
            return f"has no '{key}' (its keys: {', '.join(map(str, record))})"
        if type(record[key]) is not kind:
            kinds = {int: 'an integer', str: 'a string'}
            return f'has {key}={record[key]!r}; {kinds[kind]} is needed'
        if kind is int and abs(record[key]) > LARGEST_ID:
            return f'has {key}={record[key]}, which does not fit into 64 bits'
    return None


def _explain(record: Any, position: int, image_rows: dict, category_rows: dict) -> Defect:
    """Find out why a record was refused; called for bad records only."""
    place = f'annotations[{position}]'
    problem = _key_problem(record, {'id': int, 'image_id': int, 'category_id': int})
    if problem:
        return Defect(place, problem, 'fatal')
    place = f'annotation {record["id"]} ({place})'
    if record['image_id'] not in image_rows:
        return Defect(place, f'image_id {record["image_id"]} is not among the {len(image_rows)} images', 'fatal')
    if record['category_id'] not in category_rows:
        known = ', '.join(map(str, sorted(category_rows)[:10])) + (' ...' if len(category_rows) > 10 else '')
        return Defect(place, f'category_id {record["category_id"]} is not among the categories ({known})', 'fatal')
    if 'bbox' not in record:
        return Defect(place, f"has no 'bbox' (its keys: {', '.join(record)})", 'fatal')
    box = record['bbox']
    if not isinstance(box, (list, tuple)) or len(box) != 4 or not all(isinstance(v, (int, float)) for v in box):
        return Defect(place, f'bbox is {box!r}; four numbers x, y, width, height are needed')
    kind = type(record.get('segmentation')).__name__
    return Defect(place, f'area is {record.get("area")!r} and segmentation is of type {kind}; a number, and polygons '
                         'or an RLE, are needed')
