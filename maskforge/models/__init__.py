"""Models, one room each; a name is registered when its room is imported."""
from . import mask_rcnn

__all__ = ['mask_rcnn']
