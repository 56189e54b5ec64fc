"""Batches of prompted boxes for the model, cut out by the data set class that the config names.

The data set gets one batch's boxes at a time, as a COCO file of its own: whatever makes one sample of a box works.
"""
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader, Dataset

from maskforge.inference.box_table import BoxTable
from maskforge.inference.image_list import InputImage
from maskforge.registry import DATASETS, SCOPE

# what a file that is missing or no image makes a data set raise
BROKEN_IMAGE = (OSError, ValueError)
WARNING = 30
#: how boxes become samples of models whose ``test_dataloader`` is of something else
BOX_DATASETS = {'SAM2': dict(type='BoxPromptDataset')}


@dataclass
class BoxBatch:
    """Samples of some boxes.

    Attributes:
        rows: of the boxes that have a sample.
        samples: ``dict(inputs, data_samples)`` of each.
        failed: row and flag of each box without one.
    """

    rows: list[int] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    failed: list[tuple[int, str]] = field(default_factory=list)


class BoxBatches(Dataset):
    """One item per batch.

    Args:
        cfg: its ``test_dataloader.dataset`` (or the model's entry of :data:`BOX_DATASETS`) is built with the batch's
            boxes as ``ann_file``, ids being rows of the table, all of one category.
        table: the boxes.
        img_dir: folder of the images.
        batches: rows of each batch.

    Raises:
        ValueError: the config has no ``test_dataloader.dataset``.
    """

    def __init__(self, cfg: Config, table: BoxTable, img_dir: str | Path, batches: Sequence[np.ndarray]) -> None:
        kind = str((cfg.get('model') or {}).get('type')).split('.')[-1]
        dataset = BOX_DATASETS.get(kind) or (cfg.get('test_dataloader') or {}).get('dataset')
        if dataset is None:
            raise ValueError('the config has no test_dataloader.dataset, which says how boxes are cut out.')
        self.scope = cfg.get('default_scope') or SCOPE
        self.dataset = {key: value for key, value in dict(dataset).items()
                        if key not in ('data_root', 'metainfo', 'load_mask', 'indices', 'filter_cfg')}
        self.table, self.img_dir, self.batches = table, Path(img_dir).absolute(), batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> BoxBatch:
        rows = self.batches[index].tolist()
        samples = {row: sample for sample in self._samples(rows)
                   if (row := int(sample['data_samples'].metainfo['ann_id'])) in set(rows)}
        batch = BoxBatch()
        for row in rows:
            if row in samples:
                batch.rows.append(row)
                batch.samples.append(samples[row])
            else:
                batch.failed.append((row, self._why(row)))
        return batch

    def _samples(self, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
        with tempfile.TemporaryDirectory(prefix='maskforge_boxes_') as folder:
            path = Path(folder) / 'boxes.json'
            path.write_text(json.dumps(self._coco(rows)), encoding='utf-8')
            with DefaultScope.overwrite_default_scope(self.scope):
                dataset = DATASETS.build({**self.dataset, 'ann_file': str(path), 'test_mode': True,
                                          'data_prefix': dict(img=str(self.img_dir))})
        for index in range(len(dataset)):
            try:
                yield dataset[index]
            except BROKEN_IMAGE as error:
                print_log(f'not labelled: {error}', logger='current', level=WARNING)

    def _coco(self, rows: Sequence[int]) -> dict[str, list]:
        table, images = self.table, {}
        annotations = []
        for row in rows:
            image = int(table.image_rows[row])
            height, width = table.size_of(image)
            images[image] = dict(id=image, file_name=table.images.names[image], height=height, width=width)
            x, y, w, h = table.boxes[row].tolist()
            left, top = max(x, 0.0), max(y, 0.0)
            box = [left, top, min(x + w, width) - left, min(y + h, height) - top]  # as flagged: 'box_clipped'
            annotations.append(dict(id=row, image_id=image, category_id=1, bbox=box, area=box[2] * box[3], iscrowd=0))
        return dict(images=list(images.values()), annotations=annotations, categories=[dict(id=1, name='object')])

    def _why(self, row: int) -> str:
        """The flag of a box that the data set gave no sample for."""
        image = int(self.table.image_rows[row])
        path = self.img_dir / self.table.images.names[image]
        try:
            pixels = InputImage(path.name, path).read()
        except BROKEN_IMAGE:
            return 'image_unreadable'
        return 'left_out' if pixels.shape[:2] == self.table.size_of(image) else 'image_size_differs'


def load_batches(batches: BoxBatches, *, num_workers: int) -> DataLoader:
    """Read batches ahead in worker processes, in order."""
    return DataLoader(batches, batch_size=None, num_workers=num_workers, collate_fn=_as_it_is)


def _as_it_is(batch: BoxBatch) -> BoxBatch:
    return batch
