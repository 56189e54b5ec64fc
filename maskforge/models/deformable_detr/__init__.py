"""Deformable DETR: detection as set prediction with deformable attention."""
from .model import DeformableDETR
from .predictions import SetPredictions

__all__ = ['DeformableDETR', 'SetPredictions']
