"""Ground truth in the form that the COCO evaluation code takes, with ids that it counts right.

The evaluation code marks "no match" by id 0, so an annotation whose own id is 0 counts as missed. All ids are
therefore renumbered from 1 here; original ids come back when results are written.
"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from maskforge.formats import rle
from maskforge.formats.coco_files import CocoFiles

from .class_map import ClassMap
from .image_result import ImageResult, ImageTruth


@dataclass(frozen=True)
class CocoTruth:
    """Truth of a data set: internal image id = position + 1, internal category id = class index + 1.

    Attributes:
        dataset: ``images``, ``annotations`` and ``categories`` as the COCO evaluation code takes them.
        positions: key of an image -> internal image id.
        classes: class index -> name and original id.
        source: what to call it in messages.
        has_masks: whether every annotation has a segmentation.
        file_names: image id -> file name, where there are several files: ids may have been renumbered then.
    """

    dataset: dict
    positions: dict[Any, int]
    classes: ClassMap
    source: str
    has_masks: bool
    file_names: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def from_files(cls, paths: Sequence[str | Path], meta: Mapping | None, *, with_masks: bool,
                   backend_args: dict | None = None) -> 'CocoTruth':
        """Read COCO JSON files as one; annotations of categories that are not among the classes are left out."""
        # records that cannot be used stop a data set unless its config says otherwise; then the metric follows
        files = CocoFiles.load(paths, on_defect='skip', backend_args=backend_args)
        source = str(paths[0]) if len(paths) == 1 else f'{len(paths)} files from {paths[0]} on'
        classes = ClassMap.match(meta, files.categories, source=source)
        label_of = {original: label for label, original in enumerate(classes.ids)}
        # sorted by original id, so that ties between scores fall as in the reference implementation
        positions = {identity: position for position, identity in
                     enumerate(np.sort(np.concatenate(files.image_ids)).tolist(), start=1)}
        sizes: list = [None] * len(files)
        rows, names = [], {}
        for file, image_ids in files:
            for row, identity in enumerate(image_ids.tolist()):
                image = file.image(row)
                sizes[positions[identity] - 1] = image['height'], image['width']
                names[identity] = image['file_name']
            for index in range(len(file.annotations.ids)):
                record = file.annotation(index)
                if record['category_id'] in label_of:
                    position = positions[int(image_ids[file.annotations.image_rows[index]])]
                    rows.append(_record(record, position, label_of[record['category_id']],
                                        sizes[position - 1] if with_masks else None))
        return cls(_dataset(sizes, rows, classes), positions, classes, source, _all_masked(rows),
                   names if len(paths) > 1 else {})

    @classmethod
    def from_results(cls, results: Sequence[ImageResult], meta: Mapping) -> 'CocoTruth':
        """Take the truth that travelled with the results (no annotation file)."""
        classes = ClassMap.from_meta(meta)
        rows = []
        for position, result in enumerate(results, start=1):
            classes.check_labels(result.truth.labels, image=result.img_id)
            rows += _truth_records(position, result.truth, result.ori_shape)
        sizes = [result.ori_shape for result in results]
        positions = {result.key: position for position, result in enumerate(results, start=1)}
        return cls(_dataset(sizes, rows, classes), positions, classes, 'the data samples', _all_masked(rows))


def _all_masked(rows: Sequence[Mapping]) -> bool:
    return all('segmentation' in row for row in rows)


def _dataset(sizes: Sequence[tuple[int, int]], rows: list[dict], classes: ClassMap) -> dict:
    for number, row in enumerate(rows, start=1):
        row['id'] = number
    return dict(
        images=[dict(id=i, height=height, width=width) for i, (height, width) in enumerate(sizes, start=1)],
        annotations=rows,
        categories=[dict(id=label + 1, name=name) for label, name in enumerate(classes.names)])


def _record(row: Mapping, image_id: int, label: int, mask_size: tuple[int, int] | None) -> dict:
    """One annotation of a file; its ``area`` is the file's, which decides small, medium and large."""
    record = dict(image_id=image_id, category_id=label + 1, bbox=row['bbox'], iscrowd=row['iscrowd'],
                  area=row['area'])
    if mask_size is not None and 'segmentation' in row:
        record['segmentation'] = _encode(row['segmentation'], mask_size)
    return record


def _truth_records(image_id: int, truth: ImageTruth, size: tuple[int, int]) -> list[dict]:
    records = []
    for index, (box, label, ignored) in enumerate(zip(truth.boxes, truth.labels, truth.ignored)):
        x0, y0, x1, y1 = (float(side) for side in box)
        record = dict(image_id=image_id, category_id=int(label) + 1, bbox=[x0, y0, x1 - x0, y1 - y0],
                      iscrowd=int(ignored), area=(x1 - x0) * (y1 - y0))
        if truth.segmentations is not None:
            code = _encode(truth.segmentations[index], size)
            record.update(segmentation=code, area=float(rle.area(code)))
        records.append(record)
    return records


def _encode(segmentation: list | dict, size: tuple[int, int]) -> dict:
    """Polygons, uncompressed or compressed RLE -> compressed RLE."""
    return rle.compress(segmentation) if isinstance(segmentation, Mapping) else rle.from_polygons(segmentation, *size)
