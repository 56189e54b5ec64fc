"""COCO instance annotations as a data set."""
from typing import Any

import numpy as np
from mmengine.fileio import join_path
from mmengine.logging import print_log

from maskforge.formats.coco_json import CocoJson
from maskforge.formats.label_map import read_label_map
from maskforge.registry import DATASETS

from .base_det_dataset import BaseDetDataset
from .category_labels import (
    check_label_mode,
    check_positive_ids,
    describe_classes,
    select_categories,
    use_label_map,
)


@DATASETS.register_module()
class CocoDataset(BaseDetDataset):
    """Images and instances of a COCO JSON file.

    Classes come from the file, ordered by category id (for COCO's own files that is the usual order of its 80
    classes), unless ``metainfo.classes`` selects or reorders them. Label ``k`` belongs to the original id
    ``metainfo['category_ids'][k]``. Polygons arrive as float32 arrays, RLEs as compressed dicts; boxes are clipped to
    the image; crowd regions have ``ignore_flag=1``. Objects under one pixel wide or high and those marked ``ignore``
    are left out.

    Args:
        ann_file: path of the JSON file, below ``data_root`` unless absolute.
        data_prefix: ``dict(img='folder/of/images/')``.
        label_mode: 'contiguous' counts the classes from 0; 'category_id' makes the original id the label, so a head
            has one row per id from 0 to the largest (91 for COCO). Rows that belong to no category are named
            ``unused_<id>`` in ``metainfo['classes']``. 'category_id_from_1' has no row for id 0, and the label is the
            id - 1: the rows of TAO's Mask2Former with ``contiguous_id: False``.
        num_classes: rows where labels follow ids: as many as the largest id of the file needs by default, more where
            another split or a public checkpoint has larger ids.
        min_box_side: boxes (clipped to the image) must be at least this wide and high, in pixels; 0 keeps everything
            that has an extent, as DETR's recipe does.
        label_map: JSON list of classes below ``data_root`` (see :mod:`maskforge.formats.label_map`): chooses and
            orders the classes, gives colours and, as ``metainfo['is_thing']``, says which are things.
        require_positive_ids: refuse category and annotation ids below 1, as TAO's data must not have them.
    """

    def __init__(self, *args: Any, label_mode: str = 'contiguous', num_classes: int | None = None,
                 min_box_side: float | int = 1, label_map: str | None = None, require_positive_ids: bool = False,
                 **kwargs: Any) -> None:
        check_label_mode(label_mode, num_classes)
        self.label_mode = label_mode
        self.num_classes = num_classes
        self.min_box_side = min_box_side
        self.label_map = label_map
        self.require_positive_ids = require_positive_ids
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the file; see :meth:`maskforge.formats.coco_json.CocoJson.load` for the errors."""
        coco = CocoJson.load(self.ann_file, on_defect=self.on_defect, require_annotations=not self.test_mode,
                             backend_args=self.backend_args)
        return self._records(coco, self._select_classes(coco))

    def _records(self, coco: CocoJson, label_of: np.ndarray) -> list[dict]:
        if self.require_positive_ids:
            check_positive_ids(dict(category=coco.category_ids, annotation=coco.annotations.ids), str(coco.path))
        labels = label_of[coco.annotations.category_rows]
        boxes, usable = _training_boxes(coco, self.min_box_side)
        wanted = usable & (labels >= 0)
        tiny = int((coco.annotations.usable & ~usable).sum())
        if tiny:
            print_log(f'{coco.path}: {tiny} annotations under {self.min_box_side} pixels or without area are left '
                      'out.', 'current')
        columns = labels.tolist(), boxes.tolist(), coco.annotations.crowd.tolist()
        return [self._record(coco, row, wanted, columns) for row in range(len(coco))]

    def _select_classes(self, coco: CocoJson) -> np.ndarray:
        """Fix ``metainfo.classes`` and ``category_ids``; returns the label of every category, -1 if not selected."""
        names, ids, described = coco.category_names, coco.category_ids, None
        if self.label_map is not None:
            path = join_path(self.data_root or '', self.label_map)
            described = use_label_map(self._metainfo, read_label_map(path), names, ids.tolist(), path=path,
                                      source=str(coco.path))
        table = select_categories(self._metainfo, names, ids, label_mode=self.label_mode,
                                  num_classes=self.num_classes, source=str(coco.path))
        if described is not None:
            describe_classes(self._metainfo, described)
        return table

    def _record(self, coco: CocoJson, row: int, wanted: np.ndarray, columns: tuple[list, list, list]) -> dict[str, Any]:
        image = coco.image(row)
        instances = [_instance(coco, index, columns) for index in coco.rows_of_image(row).tolist() if wanted[index]]
        record = dict(img_path=self.image_path(image['file_name']), img_id=image['id'], height=image['height'],
                      width=image['width'], instances=instances)
        seg_map_path = self.seg_map_path(image['file_name'])
        if seg_map_path:
            record['seg_map_path'] = seg_map_path
        return record


def _instance(coco: CocoJson, row: int, columns: tuple[list, list, list]) -> dict[str, Any]:
    labels, boxes, crowd = columns
    instance = dict(bbox=boxes[row], bbox_label=labels[row], ignore_flag=int(crowd[row]))
    segmentation = coco.annotations.segmentations[row]
    if segmentation is not None:
        instance['mask'] = ([polygon.astype(np.float32) for polygon in segmentation]
                            if isinstance(segmentation, list) else segmentation)
    return instance


def _training_boxes(coco: CocoJson, min_side: float) -> tuple[np.ndarray, np.ndarray]:
    """Boxes xyxy clipped to their images, and which of them are large enough to be learnt."""
    table = coco.annotations
    sizes = coco.images.sizes[table.image_rows].reshape(-1, 2)[:, ::-1]
    low = np.clip(table.boxes[:, :2], 0, sizes)
    high = np.clip(table.boxes[:, :2] + table.boxes[:, 2:], 0, sizes)
    large = (high - low >= min_side) & (high > low)
    return np.concatenate([low, high], 1), table.usable & large.all(1) & ~(table.areas <= 0)
