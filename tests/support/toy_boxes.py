"""A toy model that labels boxes by brightness, its data set of crops, and annotation files: importable by workers."""
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import nn
from torch.utils.data import Dataset

from maskforge.registry import DATASETS, MODELS
from maskforge.structures import DetDataSample, InstanceMasks

SIDE = 32
CONFIG = '''
default_scope = 'maskforge'
custom_imports = dict(imports=['toy_boxes'])
model = dict(type='ToyBoxLabeller')
test_dataloader = dict(batch_size=4, num_workers=0, dataset=dict(type='ToyBoxDataset', ann_file='', crop_size=32))
label_cfg = dict(batch_size=3, chunk_size=4)
'''


@DATASETS.register_module(force=True)
class ToyBoxDataset(Dataset):
    """One sample per box of a COCO file; boxes above 60 pixels are left out."""

    def __init__(self, ann_file: str, data_prefix: dict, test_mode: bool, crop_size: int) -> None:
        data = json.loads(Path(ann_file).read_text())
        self.images = {record['id']: record for record in data['images']}
        self.records = [record for record in data['annotations'] if max(record['bbox'][2:]) <= 60]
        self.folder, self.side = Path(data_prefix['img']), crop_size
        assert test_mode

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self.records[index]
        image = self.images[record['image_id']]
        path = self.folder / image['file_name']
        pixels = cv2.imread(str(path))
        if pixels is None:
            raise ValueError(f'{path} cannot be read')
        x, y, width, height = record['bbox']
        box = [max(int(x), 0), max(int(y), 0), int(x + width) + 1, int(y + height) + 1]
        crop = cv2.resize(pixels[box[1]:box[3], box[0]:box[2]], (self.side, self.side))
        sample = DetDataSample(metainfo=dict(img_id=image['id'], ann_id=record['id'], img_path=str(path),
                                             ori_shape=pixels.shape[:2], crop_box=box))
        return dict(inputs=torch.from_numpy(crop.transpose(2, 0, 1).copy()), data_samples=sample)


@MODELS.register_module(force=True)
class ToyBoxLabeller(BaseModel):
    """Mask: crop pixels brighter than the crop's mean after a random convolution. ``TOY_KILL_AFTER`` boxes it dies."""

    seen = 0

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 1, 5, padding=2)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        logits = self.mix(torch.stack(list(inputs)).float() / 100)[:, 0]
        for sample, logit in zip(data_samples, logits):
            x0, y0, x1, y1 = sample.crop_box
            height, width = sample.ori_shape
            bitmap = np.zeros((1, height, width), bool)
            small = (logit > logit.mean()).numpy().astype(np.uint8)
            bitmap[0, y0:y1, x0:x1] = cv2.resize(small, (x1 - x0, y1 - y0))[:height - y0, :width - x0]
            sample.pred_instances = InstanceData(
                bboxes=torch.tensor([[x0, y0, x1, y1]]), labels=torch.zeros(1, dtype=torch.long),
                scores=logit.std().sigmoid()[None], masks=InstanceMasks.from_bitmaps(bitmap),
                box_agreement=logit.mean().sigmoid()[None])
        ToyBoxLabeller.seen += len(data_samples)
        _die_if_asked(ToyBoxLabeller.seen)
        return data_samples


def _die_if_asked(seen: int) -> None:
    time.sleep(float(os.environ.get('TOY_DELAY', '0')))
    if seen >= int(os.environ.get('TOY_KILL_AFTER', '1000000000')):
        os.kill(os.getpid(), signal.SIGKILL)


def write_toy(folder: Path, *, images: int = 6, boxes: int = 5) -> None:
    """Write ``toy.py``, ``toy.pth``, ``photos/`` and ``boxes.json`` with extra fields; images need not be in order."""
    random = np.random.default_rng(0)
    (folder / 'toy.py').write_text(CONFIG)
    torch.manual_seed(0)
    torch.save(dict(state_dict=ToyBoxLabeller().state_dict(), meta=dict(cfg=CONFIG)), folder / 'toy.pth')
    (folder / 'photos' / 'deep').mkdir(parents=True)
    records, annotations = [], []
    for index in range(images):
        name = f'{"deep/" if index % 2 else ""}photo {index}.png'
        pixels = cv2.resize(random.integers(0, 255, (9, 12, 3), np.uint8), (96, 72), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / 'photos' / name), pixels)
        records.append(dict(id=100 + index, file_name=name, height=72, width=96, licence=index))
    for number in range(images * boxes):
        x, y = (random.random(2) * (60, 40)).round(2).tolist()
        width, height = (5 + random.random(2) * 30).round(2).tolist()
        annotations.append(dict(id=7 * number, image_id=100 + number % images, category_id=3 + number % 2,
                                bbox=[x, y, width, height], area=width * height, extra=dict(note='é', at=number)))
    categories = [dict(id=3, name='cat', colour='red'), dict(id=4, name='dog')]
    content = dict(info=dict(year=2026, note='keep'), licenses=[dict(id=1)], annotations=annotations, images=records,
                   categories=categories, more=[])
    (folder / 'boxes.json').write_text(json.dumps(content))
