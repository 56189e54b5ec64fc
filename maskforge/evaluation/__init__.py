"""Metrics: COCO and VOC average precision, gathered over processes without repeated images."""
from .coco_metric import CocoMetric

__all__ = ['CocoMetric']
