"""Metrics: COCO and VOC average precision, gathered over processes without repeated images."""
from .class_map import ClassMap
from .coco_metric import CocoMetric
from .dump_results import DumpResults
from .gathered_metric import GatheredMetric
from .image_result import ImageResult, ImageTruth
from .voc_metric import VOCMetric

__all__ = ['ClassMap', 'CocoMetric', 'DumpResults', 'GatheredMetric', 'ImageResult', 'ImageTruth', 'VOCMetric']
