"""Configs on drawn shapes, and a model that finds every shape: it reads the truth of its samples."""
import pytest
import torch
from mmengine import Config
from mmengine.model import BaseModel
from mmengine.structures import InstanceData

from maskforge.registry import MODELS
from maskforge.structures import InstanceMasks


@MODELS.register_module(name='TruthReader', force=True)
class TruthReader(BaseModel):
    """Returns the truth as predictions, class ``swap`` taken for class 0; one convolution gives it a cost."""

    def __init__(self, swap: int = -1, data_preprocessor=None):
        super().__init__(data_preprocessor=data_preprocessor)
        self.swap = swap
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.parts = torch.nn.ModuleList([torch.nn.Conv2d(4, 2, 1)])

    def forward(self, inputs, data_samples=None, mode='tensor'):
        for image, sample in zip(inputs, data_samples or []):
            self.parts[0](self.conv(image[None].float()))
            truth = sample.get('gt_instances')
            count = 0 if truth is None else len(truth)
            labels = torch.zeros(0, dtype=torch.long) if truth is None else truth.labels.clone()
            labels[labels == self.swap] = 0
            sample.pred_instances = InstanceData(
                bboxes=torch.zeros(0, 4) if truth is None else truth.bboxes, labels=labels,
                scores=torch.ones(count), masks=truth.masks if truth is not None else InstanceMasks([], 1, 1))
        return data_samples


@pytest.fixture
def shapes():
    """A config of 12 drawn images, without files."""
    pipeline = [dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
                dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]
    dataset = dict(type='SyntheticShapesDataset', num_images=12, size=64, pipeline=pipeline)
    loader = dict(batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dataset)
    test = {**loader, 'dataset': {**dataset, 'pipeline': [pipeline[0], pipeline[2]], 'test_mode': True},
            'sampler': dict(type='DefaultSampler', shuffle=False, round_up=False)}
    return Config(dict(default_scope='maskforge', model=dict(type='TruthReader'), train_dataloader=loader,
                       test_dataloader=test, test_cfg=dict(type='TestLoop'), test_evaluator=dict(type='VOCMetric')))
