"""A toy detector that can be exported, and a stand-in for the Runner around it."""
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel, ImgDataPreprocessor
from torch import nn

from maskforge.structures import ExportSpec

CELL, COUNT = 8, 5


class BrightCells(nn.Module):
    """The COUNT brightest cells of CELL pixels, as boxes with scores, labels (strongest channel) and masks."""

    def __init__(self, mean, std):
        super().__init__()
        self.register_buffer('mean', mean)
        self.register_buffer('std', std)
        self.mix = nn.Conv2d(3, 4, 1)

    def forward(self, images):
        cells = torch.nn.functional.avg_pool2d(self.mix((images - self.mean) / self.std), CELL)
        best, labels = cells.flatten(2).max(1)
        scores, index = best.sigmoid().topk(COUNT, 1)
        columns = cells.shape[3]
        x, y = index % columns * CELL, index // columns * CELL
        boxes = torch.stack([x, y, x + CELL, y + CELL], -1).to(images.dtype)
        masks = scores[:, :, None, None].expand(-1, -1, 4, 4)
        return boxes, scores, labels.gather(1, index), masks * 1.0


class ToyDetector(BaseModel):
    def __init__(self):
        super().__init__(ImgDataPreprocessor(mean=[120.0, 110.0, 100.0], std=[50.0, 60.0, 70.0], bgr_to_rgb=True,
                                             pad_size_divisor=8))
        self.cells = BrightCells(self.data_preprocessor.mean, self.data_preprocessor.std)
        self.dataset_meta = dict(classes=('a', 'b', 'c', 'd'), category_ids=(3, 5, 7, 9))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return self.cells(inputs)

    def export_spec(self, *, height, width, batch_size=1, dynamic_size=False):
        names = ('boxes', 'scores', 'labels', 'masks')
        axes = {name: {0: 'batch'} for name in ('images', *names)} if batch_size == -1 else {}
        if dynamic_size:
            axes.setdefault('images', {}).update({2: 'height', 3: 'width'})
        return ExportSpec(module=self.cells, example_inputs=(torch.rand(max(batch_size, 1), 3, height, width) * 255,),
                          input_names=('images',), output_names=names, dynamic_axes=axes,
                          metadata=dict(task='instance_segmentation'),
                          tolerance=dict(boxes=1e-3, scores=1e-4, labels=0, masks=1e-4), valid_output='scores')


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, shape in (('a.png', (48, 64, 3)), ('b.png', (64, 40, 3)), ('c.png', (33, 70, 3))):
        cv2.imwrite(str(folder / name), cv2.resize(random.integers(0, 255, (8, 8, 3), np.uint8), shape[1::-1]))
    return folder


@pytest.fixture
def runner(tmp_path, images):
    torch.manual_seed(0)
    pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 48), keep_ratio=True)]
    (tmp_path / 'toy.py').write_text('')
    loader = dict(dataset=dict(type='Any', pipeline=pipeline))
    cfg = Config(dict(test_dataloader=loader), filename=str(tmp_path / 'toy.py'))
    return SimpleNamespace(model=ToyDetector(), cfg=cfg, work_dir=str(tmp_path / 'work'), _load_from=None,
                           _resume=False, load_or_resume=lambda: None)
