"""Image to feature levels: ResNet, the timm adapter, pretrained weights."""
from .pretrained import Pretrained
from .resnet import ResNet
from .timm_backbone import TimmBackbone

__all__ = ['Pretrained', 'ResNet', 'TimmBackbone']
