"""Files to samples: data sets, transforms, samplers, converters, the drawn data set."""
from . import samplers, synthetic, transforms
from .base_det_dataset import BaseDetDataset
from .box_crop import BoxCropDataset
from .cityscapes import CityscapesDataset
from .coco import CocoDataset
from .coco_panoptic import CocoPanopticDataset
from .coco_sources import CocoSourcesDataset
from .concat import ConcatDataset
from .image_folder import ImageFolderDataset
from .middle_format import MiddleFormatDataset
from .multi_image_mix import MultiImageMixDataset
from .repeat import ClassBalancedDataset, RepeatDataset
from .semantic_jsonl import SemanticJsonlDataset
from .synthetic import SyntheticShapesDataset
from .voc import VOCDataset

__all__ = ['BaseDetDataset', 'BoxCropDataset', 'CityscapesDataset', 'ClassBalancedDataset', 'CocoDataset',
           'CocoPanopticDataset', 'CocoSourcesDataset', 'ConcatDataset', 'ImageFolderDataset',
           'MiddleFormatDataset', 'MultiImageMixDataset', 'RepeatDataset', 'SemanticJsonlDataset',
           'SyntheticShapesDataset', 'VOCDataset', 'samplers', 'synthetic', 'transforms']
