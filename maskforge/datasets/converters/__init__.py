"""Other annotation formats to COCO JSON: each module has ``convert(source, output, **options) -> Conversion``."""
from . import cityscapes, kitti, labelme, via, voc, yolo
from .check_coco import check_coco
from .coco_builder import CocoBuilder, Conversion

__all__ = ['CocoBuilder', 'Conversion', 'check_coco', 'cityscapes', 'kitti', 'labelme', 'via', 'voc', 'yolo']
