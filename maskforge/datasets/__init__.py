"""Files to samples: data sets, transforms, samplers, converters, the drawn data set."""
from . import samplers, synthetic, transforms
from .base_det_dataset import BaseDetDataset
from .coco import CocoDataset

__all__ = ['BaseDetDataset', 'CocoDataset', 'samplers', 'synthetic', 'transforms']
