"""Predictions as COCO records, and the journal from which a killed batch job goes on."""
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from maskforge.formats import rle
from maskforge.formats.atomic_file import write_atomically
from maskforge.formats.json_file import write_json
from maskforge.structures import DetDataSample


def to_records(sample: DetDataSample, *, category_ids: Sequence[int], min_score: float = 0.0) -> list[dict[str, Any]]:
    """COCO result records of one image: image_id, category_id (original), score, bbox xywh, area, segmentation.

    Args:
        sample: with ``img_id`` and ``pred_instances`` in the original frame; without them there are no records.
        category_ids: original id of each label; labels beyond it are written as label + 1.
        min_score: lower scores are left out.
    """
    if 'pred_instances' not in sample:
        return []
    found = sample.pred_instances
    boxes = found.bboxes.double().numpy().reshape(-1, 4).copy()
    boxes[:, 2:] -= boxes[:, :2]
    masks = found.masks.to_rles() if 'masks' in found else None
    records = []
    for index, (box, score, label) in enumerate(zip(boxes, found.scores.tolist(), found.labels.tolist())):
        if score < min_score:
            continue
        area = float(coco_mask.area(masks[index])) if masks else float(box[2] * box[3])
        record = dict(image_id=sample.img_id, category_id=original_id(label, category_ids), score=round(score, 6),
                      bbox=np.round(box, 3).tolist(), area=area, iscrowd=0)
        if masks:
            record['segmentation'] = rle.to_json(masks[index])
        records.append(record)
    return records


def original_id(label: int, category_ids: Sequence[int]) -> int:
    """Return the category id of a label; labels beyond ``category_ids`` count from 1."""
    return int(category_ids[label]) if label < len(category_ids) else label + 1


class Journal:
    """One JSON line per finished image beside the result; a torn last line is dropped.

    Args:
        path: the journal file.
        settings: what must be equal for results to be mixed; kept in the first line.
        resume: go on from the file; False starts anew.
        beside: pattern of other journals in the folder, whose images count as finished (of processes that share the
            job, now or before).

    Raises:
        ValueError: the file belongs to a job with other settings; the differences are named.
    """

    def __init__(self, path: Path, settings: dict[str, Any], *, resume: bool,
                 beside: str | None = None) -> None:
        self.path, self.entries, self.beside = path, {}, beside
        path.parent.mkdir(parents=True, exist_ok=True)
        settings = self.settings = json.loads(json.dumps(settings))
        lines = _whole_lines(path) if resume and path.exists() else []
        if lines:
            _check_settings(lines[0], settings, path)
            self.entries = {line['name']: line for line in lines[1:]}
        if resume:
            self.read_beside()
        # rewritten, so that what follows a torn line never sticks to it
        write_atomically(path, ''.join(json.dumps(line) + '\n' for line in [settings, *self.entries.values()]).encode())
        self._file = path.open('a', encoding='utf-8')

    def add(self, entries: Sequence[dict[str, Any]]) -> None:
        """Append finished images (``name``, and ``image`` with ``records`` or ``error``) and flush."""
        self._file.writelines(json.dumps(entry) + '\n' for entry in entries)
        self._file.flush()
        os.fsync(self._file.fileno())
        self.entries.update({entry['name']: entry for entry in entries})

    def read_beside(self) -> None:
        """Take over what the other journals hold."""
        for path in self._others():
            lines = _whole_lines(path)
            if lines:
                _check_settings(lines[0], self.settings, path)
                self.entries.update({line['name']: line for line in lines[1:]})

    def remove(self) -> None:
        """Delete the file and those beside it."""
        for path in [self.path, *self._others()]:
            path.unlink()

    def _others(self) -> list[Path]:
        found = self.path.parent.glob(self.beside) if self.beside else ()
        return sorted(path for path in found if path != self.path)

    def close(self) -> None:
        """Close the file; it stays until the result is written."""
        self._file.close()


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    lines = []
    for line in path.read_text(encoding='utf-8', errors='replace').split('\n'):
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def _check_settings(old: dict[str, Any], new: dict[str, Any], path: Path) -> None:
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    other = [f'{key} was {old.get(key)!r}, now {new.get(key)!r}' for key in changed]
    if other:
        raise ValueError(f'{path.parent} holds the results of another job ({"; ".join(other)}). Use another out_dir, '
                         f'or resume=False to start this one anew.')


def write_result(path: Path, entries: Sequence[dict[str, Any]], dataset_meta: dict[str, Any]) -> Path:
    """Write one COCO JSON: images, categories, and annotations that carry scores; whole or not at all."""
    annotations = [record for entry in entries for record in entry.get('records', ())]
    for number, record in enumerate(annotations, start=1):
        record['id'] = number
    classes, ids = dataset_meta.get('classes', ()), dataset_meta.get('category_ids', ())
    categories = [dict(id=original_id(label, ids), name=name) for label, name in enumerate(classes)]
    images = [entry['image'] for entry in entries if 'image' in entry]
    write_json(dict(images=images, categories=categories, annotations=annotations), path)
    return path
