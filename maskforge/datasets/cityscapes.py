"""Cityscapes' instances, after the converter has written them as COCO JSON."""
from maskforge.registry import DATASETS

from .coco import CocoDataset

CITYSCAPES_CLASSES = ('person', 'rider', 'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle')


@DATASETS.register_module()
class CityscapesDataset(CocoDataset):
    """A :class:`CocoDataset` with Cityscapes' eight classes of things, in their usual order and colours."""

    METAINFO = dict(classes=CITYSCAPES_CLASSES,
                    palette=[(220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100),
                             (0, 0, 230), (119, 11, 32)])
