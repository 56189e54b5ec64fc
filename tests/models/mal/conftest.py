"""Crops, samples and tiny models for the tests of MAL."""
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData

from maskforge.registry import MODELS
from maskforge.structures import DetDataSample

CROP = 64
TINY = dict(type='MAL', arch='vit-deit-tiny/16', backbone=dict(embed_dim=32, depth=2, num_heads=4, img_size=64),
            mask_head_hidden_channel=16, mask_head_out_channel=8, crf_num_iter=5)


def build_tiny(**changes):
    torch.manual_seed(0)
    return MODELS.build({**TINY, **changes})


def make_sample(area=5000.0, *, box=(10.0, 20.0, 50.0, 60.0), crop_box=(2, 12, 58, 68), size=(80, 100), label=1):
    """One box; by default it and its crop lie inside the image."""
    scale = [CROP / (crop_box[2] - crop_box[0]), CROP / (crop_box[3] - crop_box[1])]
    in_crop = tuple((box[i] - crop_box[i % 2]) * scale[i % 2] for i in range(4))
    meta = dict(img_id=1, ann_id=7, ori_shape=size, box=box, crop_box=crop_box, box_in_crop=in_crop, box_area=area)
    truth = InstanceData(bboxes=torch.tensor([box]), labels=torch.tensor([label]))
    return DetDataSample(metainfo=meta, gt_instances=truth)


def make_crops(count, seed=0):
    return torch.randn(count, 3, CROP, CROP, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def tiny():
    """Builds a tiny model with two blocks: ``tiny(setting=value)``."""
    return build_tiny


@pytest.fixture
def sample():
    """Builds one sample: ``sample(area, box=...)``."""
    return make_sample


@pytest.fixture
def crops():
    """Normalised random crops: ``crops(count, seed)``."""
    return make_crops


@pytest.fixture(autouse=True)
def _own_message_hub(request):
    """The run's iteration is read from the current hub: every test starts outside any run."""
    MessageHub.get_instance(request.node.nodeid)
