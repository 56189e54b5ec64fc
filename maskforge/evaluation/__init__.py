"""Metrics (average precision, panoptic quality, semantic IoU, J&F), gathered over processes without repeated images."""
from .class_map import ClassMap
from .click_metric import ClickMetric
from .coco_metric import CocoMetric
from .coco_panoptic_metric import CocoPanopticMetric
from .dump_results import DumpResults
from .gathered_metric import GatheredMetric
from .image_result import ImageResult, ImageTruth
from .iou_metric import IoUMetric
from .panoptic_quality import PanopticCounts, count_segments, summarize_quality
from .pseudo_label_metric import PseudoLabelMetric
from .voc_metric import VOCMetric
from .vos_metric import VOSMetric

__all__ = [
    'ClassMap',
    'ClickMetric',
    'CocoMetric',
    'CocoPanopticMetric',
    'DumpResults',
    'GatheredMetric',
    'ImageResult',
    'ImageTruth',
    'IoUMetric',
    'PanopticCounts',
    'PseudoLabelMetric',
    'VOCMetric',
    'VOSMetric',
    'count_segments',
    'summarize_quality',
]
