"""Modules that several models use: data preprocessor, pyramid, region extractor, convolution blocks."""
from .conv_norm import ConvNorm
from .data_preprocessor import DetDataPreprocessor
from .fpn import FPN
from .roi_extractor import RoIAlign, SingleRoIExtractor

__all__ = ['FPN', 'ConvNorm', 'DetDataPreprocessor', 'RoIAlign', 'SingleRoIExtractor']
