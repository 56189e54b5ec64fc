"""A thin Mask2Former and a padded batch of two images."""
import pytest
import torch
from mmengine.structures import InstanceData

from maskforge.registry import MODELS
from maskforge.structures import DetDataSample, InstanceMasks

HEIGHT, WIDTH = 96, 128
SHAPES = [(96, 100), (72, 128)]
BACKBONE = dict(type='ResNet', depth=18, base_channels=8, norm_cfg=dict(type='FrozenBN'))


def build(**options) -> torch.nn.Module:
    """The model with thin layers; ``backbone`` options are added to the ResNet's."""
    torch.manual_seed(0)
    backbone = options.pop('whole_backbone', {**BACKBONE, **options.pop('backbone', {})})
    config = dict(type='Mask2Former', backbone=backbone, num_classes=3, hidden_dim=32, mask_dim=16, nheads=4,
                  enc_layers=1, enc_feedforward=48, dec_layers=3, dim_feedforward=48, num_queries=10, num_points=64)
    return MODELS.build({**config, **options})


@pytest.fixture
def images():
    torch.manual_seed(2)
    batch = torch.zeros(2, 3, HEIGHT, WIDTH)
    for image, (height, width) in zip(batch, SHAPES):
        image[:, :height, :width] = torch.randn(3, height, width)
    return batch


@pytest.fixture
def samples():
    return [some_sample(shape, count) for shape, count in zip(SHAPES, (2, 1))]


def some_sample(shape: tuple[int, int], count: int) -> DetDataSample:
    """Masks are squares along the diagonal; label k is k mod 3."""
    bitmaps = torch.zeros(count, HEIGHT, WIDTH, dtype=torch.bool)
    for index, bitmap in enumerate(bitmaps):
        bitmap[20 * index:20 * index + 30, 25 * index:25 * index + 35] = True
    labels = torch.arange(count) % 3
    meta = dict(img_id=0, img_path='one.jpg', img_shape=shape, ori_shape=shape, batch_input_shape=(HEIGHT, WIDTH))
    return DetDataSample(metainfo=meta, gt_instances=InstanceData(labels=labels,
                                                                  masks=InstanceMasks.from_bitmaps(bitmaps)))


@pytest.fixture
def make():
    """The function ``build``."""
    return build


@pytest.fixture
def make_sample():
    """The function ``some_sample``."""
    return some_sample
