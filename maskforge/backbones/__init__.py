"""Image to feature levels: ResNet, plain transformers (MAL's ViT, FAN), the timm adapter, pretrained weights."""
from .efficientvit import EfficientViT
from .efficientvit_weights import OfficialEfficientViTLayout
from .fan import FAN
from .gcvit import GCViT
from .mal_vit import MALViT
from .pretrained import Pretrained
from .resnet import ResNet
from .resnet_weights import Detectron2ResNetLayout
from .swin import SwinTransformer
from .swin_weights import (
    HuggingFaceHubSwinLayout,
    HuggingFaceSwinLayout,
    MMDetectionSwinLayout,
    OfficialSwinLayout,
    TimmSwinLayout,
)
from .timm_backbone import TimmBackbone

__all__ = [
    'FAN',
    'Detectron2ResNetLayout',
    'EfficientViT',
    'GCViT',
    'HuggingFaceHubSwinLayout',
    'HuggingFaceSwinLayout',
    'MALViT',
    'MMDetectionSwinLayout',
    'OfficialEfficientViTLayout',
    'OfficialSwinLayout',
    'Pretrained',
    'ResNet',
    'SwinTransformer',
    'TimmBackbone',
    'TimmSwinLayout',
]
