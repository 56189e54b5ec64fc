"""The public checkpoints' names and sizes, on the meta device: nothing is computed."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from maskforge.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[3] / 'configs' / 'mask_rcnn'


@pytest.fixture(scope='module', params=['mask-rcnn_r50_fpn_1x_coco', 'mask-rcnn_r50-caffe_fpn_1x_coco'])
def named(request):
    config = Config.fromfile(CONFIGS / f'{request.param}.py').model
    with torch.device('meta'):
        return request.param, MODELS.build(config)


def test_counts(named):
    name, model = named
    assert len(model.state_dict()) == 360
    assert sum(p.numel() for p in model.parameters()) == 44_396_336
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trainable == (44_120_816 if 'caffe' in name else 44_170_992)


def test_names_and_shapes_of_the_heads(named):
    shapes = {key: tuple(value.shape) for key, value in named[1].state_dict().items()}
    expected = {
        'neck.lateral_convs.3.conv.weight': (256, 2048, 1, 1), 'neck.fpn_convs.0.conv.bias': (256,),
        'rpn_head.rpn_conv.weight': (256, 256, 3, 3), 'rpn_head.rpn_cls.weight': (3, 256, 1, 1),
        'rpn_head.rpn_reg.weight': (12, 256, 1, 1), 'roi_head.bbox_head.shared_fcs.0.weight': (1024, 12544),
        'roi_head.bbox_head.shared_fcs.1.weight': (1024, 1024), 'roi_head.bbox_head.fc_cls.weight': (81, 1024),
        'roi_head.bbox_head.fc_reg.weight': (320, 1024), 'roi_head.mask_head.convs.3.conv.weight': (256, 256, 3, 3),
        'roi_head.mask_head.upsample.weight': (256, 256, 2, 2),
        'roi_head.mask_head.conv_logits.weight': (80, 256, 1, 1),
        'backbone.layer1.0.downsample.0.weight': (256, 64, 1, 1)}
    assert {key: shapes[key] for key in expected} == expected
