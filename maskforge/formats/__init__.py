"""Codecs of annotation files: one module a format, used by data sets, evaluation and inference."""
from .coco_json import CocoJson, write_coco_json
from .defect import Defect

__all__ = ['CocoJson', 'Defect', 'write_coco_json']
