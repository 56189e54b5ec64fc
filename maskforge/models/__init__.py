"""Models, one room each; a name is registered when its room is imported."""
from . import mal, mask_rcnn

__all__ = ['mal', 'mask_rcnn']
