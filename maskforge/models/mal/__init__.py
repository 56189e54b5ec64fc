"""MAL: masks from boxes."""
from .box_crop_preprocessor import BoxCropPreprocessor
from .criterion import MALCriterion
from .model import MAL
from .weights import MALBackboneLayout, MALLayout, TimmMALLayout

__all__ = ['MAL', 'BoxCropPreprocessor', 'MALBackboneLayout', 'MALCriterion', 'MALLayout', 'TimmMALLayout']
