"""The output of a labelling job: the input with masks, record by record and with everything else that was in it."""
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from maskforge.formats import rle
from maskforge.formats.json_stream import stream_json, write_json_stream
from maskforge.inference.box_table import UNPROCESSABLE, BoxTable, flag, flag_names, records_of
from maskforge.inference.label_journal import LabelResults
from maskforge.inference.label_record import PARTS


@dataclass
class LabelSummary:
    """What a finished job says.

    Attributes:
        boxes: records written. labelled: those with a mask of ours.
        flags: how often each flag was given. quality, iou: sums over the labelled boxes.
    """

    boxes: int = 0
    labelled: int = 0
    left_out: int = 0
    quality: float = 0.0
    iou: float | None = None
    flags: Counter = field(default_factory=Counter)

    def __str__(self) -> str:
        parts = [f'{self.labelled} of {self.boxes} boxes labelled']
        if self.labelled:
            parts.append(f'mean quality {self.quality / self.labelled:.3f}')
            if self.iou is not None:
                parts.append(f'mean IoU with the given masks {self.iou / self.labelled:.3f}')
        if self.left_out:
            parts.append(f'{self.left_out} below min_score left out')
        return ', '.join([*parts, *(f'{name}: {count}' for name, count in sorted(self.flags.items()))])


class LabelOutput:
    """Merges the input and the results.

    Args:
        ann_file, images_json: the input, as in :func:`~maskforge.inference.box_table.read_boxes`.
        table: the boxes, in the order of the input's records.
        results: of the boxes that were to be labelled.
        load_mask: write the ``iou`` of each mask with the one in the input.
    """

    def __init__(self, ann_file: str | Path, images_json: str | Path | None, table: BoxTable, results: LabelResults, *,
                 load_mask: bool = False) -> None:
        self.ann_file, self.images_json = ann_file, images_json
        self.table, self.results, self.load_mask = table, results, load_mask
        self.summary = LabelSummary(iou=0.0 if load_mask else None)

    def write(self, out: Path) -> LabelSummary:
        """Write the file, whole or not at all."""
        write_json_stream(out, self._items())
        return self.summary

    def _items(self) -> Iterator[tuple[str, Any]]:
        written = False
        for key, value in stream_json(self.images_json or self.ann_file):
            written |= key == 'annotations'
            yield key, self._annotations() if key == 'annotations' else value
        if not written:
            yield 'annotations', self._annotations()

    def _annotations(self) -> Iterator[dict[str, Any]]:
        for row, record in enumerate(records_of(self.ann_file)):
            bits = int(self.table.flags[row])
            if bits & flag('low_score'):
                self.summary.left_out += 1
                continue
            record.setdefault('id', row + 1)
            self._label(record, row, bits)
            self.summary.boxes += 1
            self.summary.flags.update(record['flags'])
            yield record

    def _label(self, record: dict[str, Any], row: int, bits: int) -> None:
        entry = None if bits & UNPROCESSABLE else self.results.get(row)
        record['flags'] = flag_names(bits) + (entry or {}).get('flags', [])
        record['quality'] = (entry or {}).get('quality')
        if entry is None or 'segmentation' not in entry:
            if not record.get('iscrowd'):
                record['ignore'] = 1  # data sets and metrics pass over it; the record itself stays as it was
            return
        if self.load_mask:
            record['iou'] = self._iou(record['segmentation'], entry['segmentation'])
            self.summary.iou += record['iou']
        record.setdefault('iscrowd', 0)
        record.update({name: entry[name] for name in ('segmentation', 'area', *PARTS) if name in entry})
        self.summary.labelled += 1
        self.summary.quality += entry['quality'] or 0.0

    @staticmethod
    def _iou(given: dict | list, ours: dict) -> float:
        height, width = ours['size']
        truth = rle.compress(given) if isinstance(given, dict) else rle.from_polygons(given, height, width)
        return round(float(coco_mask.iou([rle.compress(ours)], [truth], [0])[0][0]), 5)
