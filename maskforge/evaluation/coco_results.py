"""Predictions as COCO result records: for files (original ids) and for the evaluation code (internal ids)."""
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from maskforge.formats import rle
from maskforge.formats.atomic_file import write_atomically

from .class_map import ClassMap
from .image_result import ImageResult


def result_records(result: ImageResult, classes: ClassMap, *, masks: bool, boxes: bool = True) -> list[dict]:
    """COCO result records of one image: image_id, category_id (original ids), score, bbox xywh, segmentation."""
    classes.check_labels(result.labels, image=result.img_id)
    records = []
    for index, (box, score, label) in enumerate(zip(_xywh(result), result.scores_of(masks=masks), result.labels)):
        record: dict[str, Any] = dict(image_id=result.img_id, category_id=classes.ids[label], score=float(score))
        if boxes:
            record['bbox'] = box
        if masks:
            record['segmentation'] = rle.to_json(result.rles[index])
        records.append(record)
    return records


def detection_rows(result: ImageResult, image_id: int, *, masks: bool) -> list[dict]:
    """Rows for the evaluation code, without ``id``; area is the mask's for masks, the box's for boxes."""
    scores = result.scores_of(masks=masks)
    boxes = _xywh(result)
    areas = coco_mask.area(result.rles) if masks and result.rles else [box[2] * box[3] for box in boxes]
    rows = [dict(image_id=image_id, category_id=int(label) + 1, bbox=box, score=float(score), area=float(area),
                 iscrowd=0)
            for box, score, label, area in zip(boxes, scores, result.labels, areas)]
    if masks:
        for row, code in zip(rows, result.rles):
            row['segmentation'] = code
    return rows


def write_results(records: Sequence[dict], path: str | Path) -> Path:
    """Write result records as one JSON list; a reader never sees half a file."""
    return write_atomically(path, json.dumps(list(records)).encode())


def _xywh(result: ImageResult) -> list[list[float]]:
    boxes = result.boxes.astype('float64')
    boxes[:, 2:] -= boxes[:, :2]
    return boxes.tolist()
