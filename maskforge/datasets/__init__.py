"""Files to samples: data sets, transforms, samplers, converters, the drawn data set."""
from . import samplers, synthetic, transforms, video
from .base_det_dataset import BaseDetDataset
from .box_crop import BoxCropDataset
from .box_prompt import BoxPromptDataset
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
from .video import (
    CocoRawDataset,
    JSONRawDataset,
    PNGRawDataset,
    SA1BRawDataset,
    VOSDataset,
    WholeVideoDataset,
    YouTubeVOSRawDataset,
)
from .voc import VOCDataset

__all__ = ['BaseDetDataset', 'BoxCropDataset', 'BoxPromptDataset', 'CityscapesDataset', 'ClassBalancedDataset',
           'CocoDataset', 'CocoPanopticDataset', 'CocoRawDataset', 'CocoSourcesDataset', 'ConcatDataset',
           'ImageFolderDataset', 'JSONRawDataset', 'MiddleFormatDataset', 'MultiImageMixDataset', 'PNGRawDataset',
           'RepeatDataset', 'SA1BRawDataset', 'SemanticJsonlDataset', 'SyntheticShapesDataset', 'VOCDataset',
           'VOSDataset', 'WholeVideoDataset', 'YouTubeVOSRawDataset', 'samplers', 'synthetic', 'transforms', 'video']
