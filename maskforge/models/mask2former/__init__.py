"""Mask2Former: semantic, instance and panoptic segmentation (Cheng et al., CVPR 2022)."""
from .criterion import Mask2FormerCriterion
from .model import Mask2Former
from .predictions import MaskPredictions
from .weights import (
    HuggingFaceHubMask2FormerLayout,
    HuggingFaceMask2FormerLayout,
    MMDetectionMask2FormerLayout,
    OfficialMask2FormerLayout,
    TAOMask2FormerLayout,
)

__all__ = ['HuggingFaceHubMask2FormerLayout', 'HuggingFaceMask2FormerLayout', 'MMDetectionMask2FormerLayout',
           'Mask2Former', 'Mask2FormerCriterion', 'MaskPredictions', 'OfficialMask2FormerLayout',
           'TAOMask2FormerLayout']
