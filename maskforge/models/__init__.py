"""Models, one room each; a name is registered when its room is imported."""
from . import deformable_detr, mal, mask2former, mask_rcnn, sam2

__all__ = ['deformable_detr', 'mal', 'mask2former', 'mask_rcnn', 'sam2']
