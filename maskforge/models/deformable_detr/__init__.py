"""Deformable DETR: detection as set prediction with deformable attention."""
from .criterion import DeformableDETRCriterion
from .model import DeformableDETR
from .predictions import SetPredictions
from .weights import (
    HuggingFaceDeformableDETRLayout,
    HuggingFaceHubDeformableDETRLayout,
    MMDetectionDeformableDETRLayout,
    OfficialDeformableDETRLayout,
    TAODeformableDETRLayout,
)

__all__ = ['DeformableDETR', 'DeformableDETRCriterion', 'HuggingFaceDeformableDETRLayout',
           'HuggingFaceHubDeformableDETRLayout', 'MMDetectionDeformableDETRLayout', 'OfficialDeformableDETRLayout',
           'SetPredictions', 'TAODeformableDETRLayout']
