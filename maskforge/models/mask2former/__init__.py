"""Mask2Former: semantic, instance and panoptic segmentation (Cheng et al., CVPR 2022)."""
from .criterion import Mask2FormerCriterion
from .model import Mask2Former
from .predictions import MaskPredictions

__all__ = ['Mask2Former', 'Mask2FormerCriterion', 'MaskPredictions']
