"""Image to feature levels: ResNet, plain transformers (MAL's ViT, FAN), the timm adapter, pretrained weights."""
from .efficientvit import EfficientViT
from .fan import FAN
from .gcvit import GCViT
from .mal_vit import MALViT
from .pretrained import Pretrained
from .resnet import ResNet
from .swin import SwinTransformer
from .timm_backbone import TimmBackbone

__all__ = ['FAN', 'EfficientViT', 'GCViT', 'MALViT', 'Pretrained', 'ResNet', 'SwinTransformer', 'TimmBackbone']
