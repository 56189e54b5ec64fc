"""A thin Deformable DETR and a padded batch of two images."""
import pytest
import torch
from mmengine.structures import InstanceData

from maskforge.registry import MODELS
from maskforge.structures import DetDataSample

HEIGHT, WIDTH = 96, 128
SHAPES = [(96, 100), (72, 128)]


def build(**options) -> torch.nn.Module:
    """The model with thin layers and random heads; ``backbone`` options are added to the ResNet's."""
    torch.manual_seed(0)
    backbone = dict(type='ResNet', depth=18, base_channels=8, norm_cfg=dict(type='FrozenBN'))
    backbone = options.pop('whole_backbone', {**backbone, **options.pop('backbone', {})})
    config = dict(type='DeformableDETR', backbone=backbone, num_classes=3, hidden_dim=32, nheads=4, enc_layers=2,
                  dec_layers=2, dim_feedforward=48, num_queries=10, enc_n_points=2, dec_n_points=2)
    return MODELS.build({**config, **options})


@torch.no_grad()
def randomise(model: torch.nn.Module) -> torch.nn.Module:
    """Leave the symmetric start: heads, offsets and weights of samples are drawn."""
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if name.startswith('heads.') or 'sampling_offsets' in name or 'attention_weights' in name:
            parameter.normal_(0, 0.3)
    return model


@pytest.fixture
def images():
    torch.manual_seed(2)
    batch = torch.zeros(2, 3, HEIGHT, WIDTH)
    for image, (height, width) in zip(batch, SHAPES):
        image[:, :height, :width] = torch.randn(3, height, width)
    return batch


@pytest.fixture
def samples():
    boxes = [torch.tensor([[10.0, 12, 60, 70], [30, 5, 90, 40]]), torch.tensor([[0.0, 0, 64, 36]])]
    return [DetDataSample(metainfo=dict(img_shape=shape, ori_shape=shape),
                          gt_instances=InstanceData(bboxes=box, labels=torch.arange(len(box))))
            for shape, box in zip(SHAPES, boxes)]


@pytest.fixture
def make():
    """The function ``build``."""
    return build


@pytest.fixture
def make_random():
    """``build`` with random heads."""
    return lambda **options: randomise(build(**options))
