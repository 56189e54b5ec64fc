"""Other annotation formats to COCO JSON, ADE20K's to a list of masks.

Each module has ``convert(source, output, **options) -> Conversion``.
"""
from . import ade20k, cityscapes, kitti, labelme, via, voc, yolo
from .check_coco import check_coco
from .coco_builder import CocoBuilder, Conversion

__all__ = ['CocoBuilder', 'Conversion', 'ade20k', 'check_coco', 'cityscapes', 'kitti', 'labelme', 'via', 'voc', 'yolo']
