"""COCO instance annotations as a data set."""
from typing import Any

import numpy as np
from mmengine.logging import print_log

from maskforge.formats.coco_json import CocoJson
from maskforge.registry import DATASETS

from .base_det_dataset import BaseDetDataset
from .class_names import label_table, match_classes


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
    """

    def load_data_list(self) -> list[dict]:
        """Read the file; see :meth:`maskforge.formats.coco_json.CocoJson.load` for the errors."""
        coco = CocoJson.load(self.ann_file, on_defect=self.on_defect, require_annotations=not self.test_mode,
                             backend_args=self.backend_args)
        labels = self._select_classes(coco)
        boxes, usable = _training_boxes(coco)
        wanted = usable & (labels >= 0)
        tiny = int((coco.annotations.usable & ~usable).sum())
        if tiny:
            print_log(f'{self.ann_file}: {tiny} annotations under one pixel are left out.', 'current')
        columns = labels.tolist(), boxes.tolist(), coco.annotations.crowd.tolist()
        return [self._record(coco, row, wanted, columns) for row in range(len(coco))]

    def _select_classes(self, coco: CocoJson) -> np.ndarray:
        """Fix ``metainfo.classes`` and ``category_ids``; returns the label of every annotation, -1 if not selected."""
        classes = self._metainfo.setdefault('classes', tuple(coco.category_names))
        if not classes:
            raise ValueError(f"{self.ann_file}: 'categories' is empty; at least one category is needed.")
        rows = match_classes(classes, coco.category_names, str(self.ann_file))
        self._metainfo['category_ids'] = tuple(coco.category_ids[rows].tolist())
        return label_table(rows, len(coco.category_names))[coco.annotations.category_rows]

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


def _training_boxes(coco: CocoJson) -> tuple[np.ndarray, np.ndarray]:
    """Boxes xyxy clipped to their images, and which of them are large enough to be learnt."""
    table = coco.annotations
    sizes = coco.images.sizes[table.image_rows].reshape(-1, 2)[:, ::-1]
    low = np.clip(table.boxes[:, :2], 0, sizes)
    high = np.clip(table.boxes[:, :2] + table.boxes[:, 2:], 0, sizes)
    usable = table.usable & ((high - low) >= 1).all(1) & ~(table.areas <= 0)
    return np.concatenate([low, high], 1), usable
