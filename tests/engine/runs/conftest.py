"""A model, a data set and a metric small enough for hundreds of training runs, and a config that uses them."""
import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from torch import nn
from torch.utils.data import Dataset

from maskforge.registry import DATASETS, METRICS, MODELS
from maskforge.structures import sample_rng

TOY_SOURCE = __file__


@MODELS.register_module(force=True)
class ToyModel(BaseModel):
    def __init__(self, dropout=0.3, num_classes=None, **kwargs):
        super().__init__(**kwargs)
        self.backbone = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.neck = nn.Dropout(dropout)
        self.bbox_head = nn.Linear(8, 2)
        if num_classes is not None:
            self.bbox_head.num_classes = num_classes

    def forward(self, x, y, mode='tensor'):
        out = self.bbox_head(self.neck(self.backbone(x)))
        if mode == 'loss':
            return dict(loss_square=((out - y) ** 2).mean(), loss_absolute=(out - y).abs().mean())
        return list(out) if mode == 'predict' else out


@DATASETS.register_module(force=True)
class ToyDataset(Dataset):
    metainfo = dict(classes=('a', 'b'), palette=[(0, 0, 0), (255, 0, 0)], category_ids=(3, 7))

    def __init__(self, size=22, random=True):
        generator = np.random.default_rng(0)
        self.x = generator.normal(size=(size, 4)).astype(np.float32)
        self.y = generator.normal(size=(size, 2)).astype(np.float32)
        self.random = random
        self.seen = []

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        self.seen.append(index)
        noise = sample_rng().normal(size=4) + np.random.rand() + torch.rand(1).item() if self.random else 0
        return torch.from_numpy((self.x[index] + 0.1 * noise).astype(np.float32)), torch.from_numpy(self.y[index])


@METRICS.register_module(force=True)
class ToyMetric(BaseMetric):
    default_prefix = 'toy'

    def process(self, data_batch, data_samples):
        for target, output in zip(data_batch[1], data_samples):
            self.results.append(float((output.cpu() - target).abs().sum()))

    def compute_metrics(self, results):
        total = 0.0
        for value in results:  # the order matters for the last bits
            total = total * 1.0000001 + value
        return dict(error=total, count=len(results))


def toy_config(work_dir, **changes):
    """A complete config; ``changes`` replace its top-level entries."""
    loader = dict(batch_size=4, num_workers=0, collate_fn=dict(type='default_collate'))
    data = dict(type='ToyDataset')
    config = dict(
        model=dict(type='ToyModel'), work_dir=str(work_dir),
        train_dataloader=dict(loader, dataset=data, sampler=dict(type='DefaultSampler', shuffle=True)),
        val_dataloader=dict(loader, dataset=dict(data, size=11, random=False),
                            sampler=dict(type='DefaultSampler', shuffle=False)),
        train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=1), val_cfg=dict(),
        val_evaluator=dict(type='ToyMetric'),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        param_scheduler=[dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=5),
                         dict(type='MultiStepLR', milestones=[2], by_epoch=True)],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1),
                           logger=dict(type='LoggerHook', interval=5)),
        randomness=dict(seed=7), default_scope='maskforge', visualizer=None)
    return {**config, **changes}


@pytest.fixture
def config():
    """Builds toy configs: ``config(work_dir, key=value)``."""
    return toy_config


@pytest.fixture
def toy_source():
    """Path of this file: subprocesses import it for the toy classes."""
    return TOY_SOURCE
