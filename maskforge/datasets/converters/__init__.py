"""Other annotation formats to COCO JSON, ADE20K's to a list of masks, video files to folders of frames.

Each module has ``convert(source, output, **options)``, whose result has ``skipped`` and prints well.
"""
from . import ade20k, cityscapes, kitti, labelme, sav_frames, via, voc, yolo
from .check_coco import check_coco
from .coco_builder import CocoBuilder, Conversion

__all__ = ['CocoBuilder', 'Conversion', 'ade20k', 'check_coco', 'cityscapes', 'kitti', 'labelme', 'sav_frames',
           'via', 'voc', 'yolo']
