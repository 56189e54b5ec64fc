"""COCO instance annotations: one reader for training, evaluation and inference, and the writer.

The file is parsed once into NumPy columns. Everything that is wrong with it is found in that pass and reported with
the file and the record; ids may start at 0 and have gaps.
"""
import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from . import rle
from .coco_parse import Annotations, Images, parse_annotations, parse_categories, parse_images
from .defect import Defect, settle
from .json_file import garbage_collection_paused, read_json_dict, write_json


class CocoJson:
    """The content of one COCO file.

    Attributes:
        path: where it was read from, or a name for messages.
        images: columns ``ids``, ``names``, ``sizes`` (height, width); row = position in the file.
        annotations: columns of the sound records; row = position among them.
        category_ids: (K,) int64, rising. category_names: their names in the same order.
        categories: the records of the file as they are (with supercategories), sorted by id.
        defects: every finding of the pass, warnings included.
    """

    def __init__(self, path: str, images: Images, annotations: Annotations, categories: list[dict],
                 defects: Sequence[Defect] = ()) -> None:
        self.path = path
        self.images = images
        self.annotations = annotations
        self.categories = sorted(categories, key=lambda record: record['id'])
        self.category_ids = np.array([record['id'] for record in self.categories], np.int64)
        self.category_names = [record['name'] for record in self.categories]
        self.defects = list(defects)
        self._by_image = np.argsort(annotations.image_rows, kind='stable')
        self._bounds = np.searchsorted(annotations.image_rows[self._by_image], np.arange(len(images.names) + 1))

    @classmethod
    def load(cls, path: str | Path, *, on_defect: str = 'raise', require_annotations: bool = True,
             backend_args: dict | None = None) -> 'CocoJson':
        """Read a file.

        Args:
            on_defect: 'raise' at records that cannot be used (box outside the image or not finite, polygon with fewer
                than 3 points, RLE of another size than the image); 'skip' leaves them out with a warning; 'list'
                leaves them out silently and keeps going over contradictions too (see ``defects``). Boxes without
                extent and boxes that stick out a little are only warned of.
            require_annotations: False for lists of test images, which may have no ``annotations``.

        Raises:
            FileNotFoundError, ValueError: missing, cut off or contradictory file, with the record.
        """
        data = read_json_dict(path, backend_args=backend_args)
        return cls.from_dict(data, path=str(path), on_defect=on_defect, require_annotations=require_annotations)

    @classmethod
    def from_dict(cls, data: dict, *, path: str = 'COCO data', on_defect: str = 'raise',
                  require_annotations: bool = True) -> 'CocoJson':
        """Like :meth:`load` for data that is already in memory (it is not kept)."""
        _check_top_level(data, path, require_annotations)
        defects: list[Defect] = []
        images = parse_images(data['images'], defects)
        category_ids, _ = parse_categories(data['categories'], defects)
        with garbage_collection_paused():
            annotations = parse_annotations(data.get('annotations', []), images, category_ids, defects)
        settle(path, defects, on_defect)
        known = set(category_ids.tolist())
        categories = [r for r in data['categories'] if isinstance(r, dict) and type(r.get('id')) is int
                      and r['id'] in known and type(r.get('name')) is str]
        return cls(path, images, annotations, categories, defects)

    def __len__(self) -> int:
        return len(self.images.names)

    def __iter__(self) -> Iterator[tuple[dict, list[dict]]]:
        """Yield (image record, its annotation records) in the file's order."""
        for row in range(len(self)):
            yield self.image(row), self.annotations_of(row)

    def image(self, row: int) -> dict:
        """The image record: id, file_name, height, width."""
        height, width = self.images.sizes[row].tolist()
        return dict(id=int(self.images.ids[row]), file_name=self.images.names[row], height=height, width=width)

    def rows_of_image(self, row: int) -> np.ndarray:
        """Rows of the image's annotations, in the file's order."""
        return self._by_image[self._bounds[row]:self._bounds[row + 1]]

    def annotations_of(self, row: int) -> list[dict]:
        """The image's annotation records: id, image_id, category_id, bbox (xywh), area, iscrowd, segmentation."""
        return [self.annotation(index) for index in self.rows_of_image(row).tolist()]

    def annotation(self, row: int) -> dict:
        """One annotation record; segmentation (float64 polygons or compressed RLE) only where the file has one."""
        table = self.annotations
        segmentation = table.segmentations[row]
        area = float(table.areas[row])
        record = dict(id=int(table.ids[row]), image_id=int(self.images.ids[table.image_rows[row]]),
                      category_id=int(self.category_ids[table.category_rows[row]]), bbox=table.boxes[row].tolist(),
                      area=self._measure(row, segmentation) if np.isnan(area) else area,
                      iscrowd=int(table.crowd[row]))
        if segmentation is not None:
            record['segmentation'] = segmentation
        return record

    def with_categories(self, categories: list[dict]) -> 'CocoJson':
        """The same content with further categories (which include the file's own)."""
        if len(categories) == len(self.categories):
            return self
        rows = np.searchsorted(sorted(record['id'] for record in categories), self.category_ids)
        table = self.annotations
        annotations = replace(table, category_rows=rows.astype(np.int32)[table.category_rows])
        return CocoJson(self.path, self.images, annotations, categories, self.defects)

    def to_dict(self, *, renumber: bool = False) -> dict:
        """Return JSON-able COCO data; ``renumber`` counts annotation ids from 1 (pycocotools miscounts id 0)."""
        annotations = [self.annotation(row) for row in range(len(self.annotations.ids))]
        for number, record in enumerate(annotations, 1):
            if renumber:
                record['id'] = number
            if 'segmentation' in record:
                record['segmentation'] = segmentation_to_json(record['segmentation'])
        return dict(images=[self.image(row) for row in range(len(self))], annotations=annotations,
                    categories=self.categories)

    def to_pycocotools(self, *, renumber: bool = True) -> COCO:
        """Return pycocotools' ``COCO`` object; annotation ids count from 1 unless ``renumber`` is False."""
        coco = COCO()
        coco.dataset = self.to_dict(renumber=renumber)
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
        return coco

    def _measure(self, row: int, segmentation: list | dict | None) -> float:
        """Area in pixels of a record whose file gives none: of its mask, else of its box."""
        if segmentation is None:
            return float(np.prod(self.annotations.boxes[row, 2:]))
        if isinstance(segmentation, list):
            height, width = self.images.sizes[self.annotations.image_rows[row]].tolist()
            segmentation = rle.from_polygons(segmentation, height, width)
        return float(coco_mask.area(segmentation))


def segmentation_to_json(segmentation: Sequence | dict) -> list | dict:
    """Turn polygons (arrays) or an RLE (bytes) into what JSON can hold."""
    if isinstance(segmentation, dict):
        return rle.to_json(segmentation)
    return [np.asarray(polygon, dtype=np.float64).tolist() for polygon in segmentation]


def write_coco_json(path: str | Path, *, images: Sequence[dict], annotations: Sequence[dict],
                    categories: Sequence[dict], info: dict | None = None, indent: int | None = None) -> None:
    """Check records and write them as one COCO file, atomically.

    Args:
        images: id, file_name, width, height. annotations: id, image_id, category_id, bbox (xywh); area, iscrowd and
            segmentation (arrays and bytes are allowed) optional. categories: id, name. Other keys are kept.

    Raises:
        ValueError: a record contradicts the rest; nothing is written.
    """
    cleaned = []
    for record in annotations:
        record = dict(record)
        if record.get('segmentation'):
            record['segmentation'] = segmentation_to_json(record['segmentation'])
        record.setdefault('iscrowd', 0)
        if 'bbox' in record:
            record['bbox'] = [float(value) for value in record['bbox']]
            record.setdefault('area', record['bbox'][2] * record['bbox'][3])
        cleaned.append(record)
    data = dict(info=info or {}, images=list(images), annotations=cleaned, categories=list(categories))
    CocoJson.from_dict(data, path=str(path))
    write_json(data, path, indent=indent)


def _check_top_level(data: dict, path: str, require_annotations: bool) -> None:
    for key in ('images', 'categories', *(('annotations',) if require_annotations else ())):
        if key not in data:
            raise ValueError(f"{path} has no '{key}' (its keys: {', '.join(map(str, data)) or 'none'}); COCO instance "
                             "annotations have 'images', 'annotations' and 'categories'.")
        if not isinstance(data[key], list):
            raise ValueError(f"{path}: '{key}' is a {type(data[key]).__name__}; a list is needed.")
