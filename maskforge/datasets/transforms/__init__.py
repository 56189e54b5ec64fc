"""Transforms of images and their annotations, registered in TRANSFORMS under MMDetection's and mmcv's names.

They take and return mmcv's ``results`` dict, draw from :func:`maskforge.structures.sample_rng` only, and keep masks as
polygons or RLE. Transforms of mmcv that have no counterpart here work as they are.

Those of clips (``Clip...``) take and return the dict of :func:`maskforge.datasets.video.load_clip` instead.
"""
from .clip_color import ClipColorJitter, ClipRandomGrayscale
from .clip_geometry import ClipRandomAffine, ClipRandomFlip, ClipResize
from .clip_mosaic import ClipMosaic
from .clip_pack import PackClip
from .color import PhotoMetricDistortion, RandomGrayscale
from .compose import Compose, RandomApply, RandomChoice, TestTimeAug
from .copy_paste import CopyPaste
from .crop import RandomCrop
from .detr_augmentation import DETRTestTransform, DETRTrainTransform
from .filter_annotations import FilterAnnotations
from .fixed_pad import FixedPad
from .flip import RandomFlip
from .load_annotations import LoadAnnotations
from .load_image import LoadImageFromFile, LoadImageFromNDArray
from .pack import PackDetInputs
from .pad import Pad
from .resize import RandomChoiceResize, RandomResize, Resize
from .segmentation_augmentation import SegmentationTestTransform, SegmentationTrainTransform
from .segments import LoadPanopticAnnotations, SemSegToInstances
from .short_side_resize import ShortSideResize

__all__ = ['ClipColorJitter', 'ClipMosaic', 'ClipRandomAffine', 'ClipRandomFlip', 'ClipRandomGrayscale', 'ClipResize',
           'Compose', 'CopyPaste', 'DETRTestTransform', 'DETRTrainTransform', 'FilterAnnotations', 'FixedPad',
           'LoadAnnotations', 'LoadImageFromFile', 'LoadImageFromNDArray', 'LoadPanopticAnnotations', 'PackClip',
           'PackDetInputs', 'Pad', 'PhotoMetricDistortion', 'RandomApply', 'RandomChoice', 'RandomChoiceResize',
           'RandomCrop', 'RandomFlip', 'RandomGrayscale', 'RandomResize', 'Resize', 'SegmentationTestTransform',
           'SegmentationTrainTransform', 'SemSegToInstances', 'ShortSideResize', 'TestTimeAug']
