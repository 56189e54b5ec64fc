"""The boxes of an annotation file as columns: what can be labelled, in which order, and why the rest cannot.

Records stay in the file; a table takes about 60 bytes a box.
"""
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from maskforge.formats.json_stream import Elements, stream_json

#: why a box has no mask of ours; bit k of a box's flags is FLAGS[k]
FLAGS = ('box_malformed', 'unknown_image', 'box_without_extent', 'box_outside_image', 'crowd', 'low_score',
         'image_missing', 'box_clipped')
#: flags that only inform: the box is labelled all the same
HARMLESS = ('box_clipped',)
#: sides below this (pixels) hold no pixel to label
MIN_SIDE = 1e-3


def flag(name: str) -> int:
    """The bit of a flag."""
    return 1 << FLAGS.index(name)


UNPROCESSABLE = sum(flag(name) for name in FLAGS if name not in HARMLESS)


def flag_names(bits: int) -> list[str]:
    """Names of the bits that are set."""
    return [name for index, name in enumerate(FLAGS) if bits >> index & 1]


@dataclass
class ImageTable:
    """Columns of the images; row = position in the file."""

    names: list[str] = field(default_factory=list)
    sizes: array = field(default_factory=lambda: array('q'))  # height, width in turn
    row_of: dict[Any, int] = field(default_factory=dict)


@dataclass
class BoxTable:
    """Columns of the boxes; row = position among the file's records.

    Attributes:
        images: of the file.
        image_rows: (N,) int64, -1 where the image is unknown.
        boxes: (N, 4) float64 x, y, width, height as written.
        flags: (N,) int64, bits of :data:`FLAGS`.
    """

    images: ImageTable
    image_rows: np.ndarray
    boxes: np.ndarray
    flags: np.ndarray

    def __len__(self) -> int:
        return len(self.flags)

    def size_of(self, image_row: int) -> tuple[int, int]:
        """Height and width of an image, by its record."""
        return self.images.sizes[2 * image_row], self.images.sizes[2 * image_row + 1]

    def order(self) -> np.ndarray:
        """Rows of the boxes to label, image after image: each image is decoded once."""
        rows = np.flatnonzero(self.flags & UNPROCESSABLE == 0)
        return rows[np.argsort(self.image_rows[rows], kind='stable')]


def read_boxes(ann_file: str | Path, images_json: str | Path | None = None, *, min_score: float | None = None,
               load_mask: bool = False) -> BoxTable:
    """Read the boxes of a COCO file, or of a COCO results list together with the file of its images.

    Args:
        ann_file: COCO JSON, or a list of ``dict(image_id, category_id, bbox, score)``.
        images_json: COCO JSON with the images and categories of a results list.
        min_score: results below it are flagged 'low_score'.
        load_mask: every record must have a segmentation (to compare the masks with).

    Raises:
        ValueError: no boxes, a results list without images, a file with annotations and ``images_json``, records that
            lack a segmentation under ``load_mask``.
    """
    images, columns = ImageTable(), _Columns(min_score, load_mask, str(ann_file))
    is_list = _read(ann_file, images, columns)
    if is_list and images_json is None:
        raise ValueError(f'{ann_file} is a list of detections: give the COCO JSON of their images as images_json '
                         f'(--images-json).')
    if not is_list and images_json is not None:
        raise ValueError(f'{ann_file} has images of its own, and images_json={images_json} brings others; give '
                         f'images_json for a list of detections only.')
    if is_list:
        _read(images_json, images, None)
    if not images.names:
        raise ValueError(f"{images_json or ann_file} has no 'images'; COCO annotations have 'images', 'annotations' "
                         f"and 'categories'.")
    if not len(columns.flags):
        raise ValueError(f'{ann_file} has no boxes: there is nothing to label.')
    return columns.freeze(images)


def _read(path: str | Path, images: ImageTable, columns: '_Columns | None') -> bool:
    """Read one file's lists; returns whether it is a bare list."""
    for key, value in stream_json(path):
        if key is None and columns is None:
            raise ValueError(f'{path} is a list; a COCO JSON with images and categories is needed.')
        if key in (None, 'annotations') and columns is not None and isinstance(value, Elements):
            columns.extend(value)
        elif key == 'images' and isinstance(value, Elements):
            _add_images(images, value, path)
        if key is None:
            return True
    return False


def _add_images(images: ImageTable, records: Iterable[Any], path: str | Path) -> None:
    for position, record in enumerate(records):
        try:
            identity, name = record['id'], record['file_name']
            height, width = int(record['height']), int(record['width'])
        except (KeyError, TypeError, ValueError):
            raise ValueError(f'{path}: images[{position}] needs id, file_name, height and width, got '
                             f'{str(record)[:200]}.') from None
        if identity in images.row_of:
            raise ValueError(f'{path}: image id {identity!r} is used twice (images[{position}]).')
        images.row_of[identity] = len(images.names)
        images.names.append(name)
        images.sizes.extend((height, width))


class _Columns:
    """Columns while they grow; image ids become rows at the end, because images may follow in the file."""

    def __init__(self, min_score: float | None, load_mask: bool, path: str) -> None:
        self.min_score, self.load_mask, self.path = min_score, load_mask, path
        self.images, self.boxes, self.flags = array('q'), array('d'), array('q')
        self.numbers: dict[Any, int] = {}

    def extend(self, records: Iterable[Any]) -> None:
        for position, record in enumerate(records):
            if not isinstance(record, dict):
                raise ValueError(f'{self.path}: record {position} is {str(record)[:80]}; an object is needed.')
            if self.load_mask and not record.get('segmentation'):
                raise ValueError(f'{self.path}: annotation {record.get("id", position)} has no segmentation, but '
                                 f'load_mask compares the masks with the given ones; leave load_mask out.')
            box, bits = _box_of(record)
            bits |= flag('crowd') * bool(record.get('iscrowd'))
            if self.min_score is not None and float(record.get('score', 1.0)) < self.min_score:
                bits |= flag('low_score')
            image = record.get('image_id')
            hashable = image if isinstance(image, (int, str)) else str(image)
            self.images.append(self.numbers.setdefault(hashable, len(self.numbers)))
            self.boxes.extend(box)
            self.flags.append(bits)

    def freeze(self, images: ImageTable) -> BoxTable:
        row_of_number = np.array([images.row_of.get(identity, -1) for identity in self.numbers], np.int64)
        rows = row_of_number[np.array(self.images, np.int64)]
        boxes = np.array(self.boxes, np.float64).reshape(-1, 4)
        flags = np.array(self.flags, np.int64)
        flags[rows < 0] |= flag('unknown_image')
        judged = (rows >= 0) & (flags & flag('box_malformed') == 0)
        return BoxTable(images, rows, boxes, flags | _geometry_flags(boxes, rows, images) * judged)


def _box_of(record: dict) -> tuple[tuple[float, ...], int]:
    box = record.get('bbox')
    if isinstance(box, list) and len(box) == 4 and all(type(value) in (int, float) for value in box):
        try:
            values = tuple(map(float, box))
        except OverflowError:
            return (0.0,) * 4, flag('box_malformed')
        if np.isfinite(values).all():
            return values, 0
    return (0.0,) * 4, flag('box_malformed')


def _geometry_flags(boxes: np.ndarray, rows: np.ndarray, images: ImageTable) -> np.ndarray:
    """Flags of boxes without extent, outside their image, or partly outside it."""
    sizes = np.array(images.sizes, np.int64).reshape(-1, 2)[rows][:, ::-1]  # width, height
    low, extent = boxes[:, :2], boxes[:, 2:]
    visible = np.minimum(low + extent, sizes) - np.maximum(low, 0)
    empty = (extent < MIN_SIDE).any(1)
    outside = ~empty & (visible < MIN_SIDE).any(1)
    clipped = ~empty & ~outside & (extent - visible > 1).any(1)
    return (empty * flag('box_without_extent') | outside * flag('box_outside_image')
            | clipped * flag('box_clipped'))


def records_of(path: str | Path) -> Iterator[dict]:
    """The records of the annotations, in the order of the table."""
    for key, value in stream_json(path):
        if key in (None, 'annotations'):
            yield from value
