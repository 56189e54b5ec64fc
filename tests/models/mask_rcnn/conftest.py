"""A tiny Mask R-CNN."""
import pytest
import torch
from tiny_rcnn import tiny_config

from maskforge.registry import MODELS


@pytest.fixture
def config():
    return tiny_config()


@pytest.fixture
def model(config):
    torch.manual_seed(0)
    return MODELS.build(config)
