"""A user's backbone, data set, hook and metric in a file of their own train without a change to maskforge."""
import textwrap

import pytest
from commands import TOY, metrics, tool

pytestmark = pytest.mark.slow

PARTS = '''
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from torch import nn

from maskforge.datasets import SyntheticShapesDataset
from maskforge.registry import DATASETS, HOOKS, METRICS, MODELS


@MODELS.register_module()
class TinyBackbone(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.stages = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in range(4))

    def forward(self, x):
        x, levels = self.stem(x).relu(), []
        for stage in self.stages:
            x = stage(x).relu()
            levels.append(x)
        return tuple(levels)


@DATASETS.register_module()
class OwnShapes(SyntheticShapesDataset):
    pass


@HOOKS.register_module()
class SayHello(Hook):
    def before_train(self, runner):
        runner.logger.info('hello from a hook of my own')


@METRICS.register_module()
class CountImages(BaseMetric):
    default_prefix = 'own'

    def process(self, data_batch, data_samples):
        self.results += [1 for _ in data_samples]

    def compute_metrics(self, results):
        return {'images': sum(results)}
'''
CONFIG = '''
_base_ = '{toy}'
custom_imports = dict(imports=['my_parts'])
model = dict(backbone=dict(_delete_=True, type='TinyBackbone', width=8), neck=dict(in_channels=[8, 8, 8, 8]))
train_dataloader = dict(dataset=dict(type='OwnShapes'))
custom_hooks = [dict(type='SayHello'), dict(type='EmptyCacheHook')]  # the second is MMEngine's
val_evaluator = [dict(type='CocoMetric', metric=['bbox', 'segm']), dict(type='CountImages')]
test_evaluator = val_evaluator
vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(vis_backends=vis_backends)
train_cfg = dict(max_epochs=1)
param_scheduler = []
'''


def test_own_parts_train_and_test(tmp_path):
    (tmp_path / 'my_parts.py').write_text(PARTS)
    config = tmp_path / 'my_config.py'
    config.write_text(textwrap.dedent(CONFIG).format(toy=TOY))
    work_dir = tmp_path / 'work'
    done = tool('train.py', config, '--work-dir', work_dir, PYTHONPATH=str(tmp_path))
    assert 'hello from a hook of my own' in done.stdout + done.stderr
    assert list(work_dir.rglob('events.out.tfevents*'))
    tool('test.py', config, work_dir / 'epoch_1.pth', '--work-dir', tmp_path / 'test', PYTHONPATH=str(tmp_path))
    assert metrics(tmp_path / 'test')['own/images'] == 5
