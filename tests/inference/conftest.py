"""A toy detector with its config, checkpoint and images, and an ONNX file of it."""
import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.model import BaseModel, ImgDataPreprocessor
from mmengine.structures import InstanceData
from torch import nn

from maskforge.export.onnx_writer import write_onnx
from maskforge.export.preprocessing import Preprocessing
from maskforge.ops.masks import paste_packed
from maskforge.registry import MODELS, TRANSFORMS
from maskforge.structures import DetDataSample, ExportSpec, InstanceMasks

CELL, COUNT, MEAN = 8, 3, 100.0


class BrightCells(nn.Module):
    """The COUNT brightest cells: boxes, scores, labels and masks of probability 0.9."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(3, 2, 1)

    def forward(self, images):
        cells = torch.nn.functional.avg_pool2d(self.mix((images - MEAN) / 50), CELL)
        best, labels = cells.flatten(2).max(1)
        scores, index = best.sigmoid().topk(COUNT, 1)
        columns = cells.shape[3]
        x, y = index % columns * CELL, index // columns * CELL
        boxes = torch.stack([x, y, x + CELL, y + CELL], -1).to(images.dtype)
        masks = torch.full_like(scores, 0.9)[..., None, None].expand(-1, -1, 4, 4)
        return boxes, scores, labels.gather(1, index), masks


@MODELS.register_module(force=True)
class InferenceToy(BaseModel):
    def __init__(self):
        super().__init__(ImgDataPreprocessor(bgr_to_rgb=True, pad_size_divisor=8, pad_value=MEAN))
        self.cells = BrightCells()

    def forward(self, inputs, data_samples=None, mode='tensor'):
        outputs = self.cells(inputs.float())
        for sample, boxes, scores, labels, masks in zip(data_samples, *outputs):
            scale = boxes.new_tensor(sample.metainfo.get('scale_factor', (1, 1))).repeat(2)
            height, width = sample.ori_shape
            boxes = (boxes / scale).clamp(min=0)
            boxes = torch.minimum(boxes, boxes.new_tensor([width, height, width, height]))
            sample.pred_instances = InstanceData(
                bboxes=boxes, scores=scores, labels=labels,
                masks=InstanceMasks(paste_packed(masks, boxes, sample.ori_shape), height, width))
        return data_samples


@TRANSFORMS.register_module(force=True)
class InferenceToyPack(BaseTransform):
    def transform(self, results):
        keys = ('scale_factor', 'img_shape')
        sample = DetDataSample(metainfo={key: results[key] for key in keys if key in results})
        return dict(inputs=torch.from_numpy(np.ascontiguousarray(results['img'].transpose(2, 0, 1))),
                    data_samples=sample)


CONFIG = '''
default_scope = 'maskforge'
model = dict(type='InferenceToy')
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='mmcv.Resize', scale=(64, 48), keep_ratio=True),
                 dict(type='LoadAnnotations', with_bbox=True), dict(type='InferenceToyPack')]
test_dataloader = dict(dataset=dict(type='CocoDataset', metainfo=dict(classes=('cat', 'dog')), pipeline=test_pipeline))
'''


@pytest.fixture(scope='session')
def toy(tmp_path_factory):
    """Folder with toy.py, toy.pth, toy.onnx."""
    folder = tmp_path_factory.mktemp('toy')
    torch.manual_seed(0)
    model = InferenceToy()
    meta = dict(cfg=CONFIG.replace('test_pipeline =', 'x =').replace('pipeline=test_pipeline', '''pipeline=[
        dict(type='LoadImageFromFile'), dict(type='mmcv.Resize', scale=(64, 48), keep_ratio=True),
        dict(type='InferenceToyPack')]'''), dataset_meta=dict(classes=('cat', 'dog'), category_ids=(17, 18)))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), folder / 'toy.pth')
    (folder / 'toy.py').write_text(CONFIG)
    rule = Preprocessing('RGB', [MEAN] * 3, [1.0] * 3, [64, 48], True, 8, [48, 64])
    names = ('boxes', 'scores', 'labels', 'masks')
    spec = ExportSpec(module=model.cells, example_inputs=(torch.rand(1, 3, 48, 64),), input_names=('images',),
                      output_names=names, dynamic_axes={name: {0: 'batch'} for name in ('images', *names)},
                      metadata=dict(classes=['cat', 'dog'], category_ids=[17, 18], preprocessing=rule.to_metadata()))
    write_onnx(spec, folder / 'toy.onnx', opset=17)
    return folder


@pytest.fixture
def photos(tmp_path):
    """Six landscape images, in two folders."""
    random = np.random.default_rng(0)
    for index in range(6):
        path = tmp_path / 'photos' / ('a' if index < 3 else 'b') / f'{index}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.resize(random.integers(0, 255, (6, 8, 3), np.uint8), (128, 96)))
    return tmp_path / 'photos'
