"""Modules that several models use: preprocessor, pyramid, region extractor, deformable encoder, position codes."""
from .conv_norm import ConvNorm
from .data_preprocessor import DetDataPreprocessor
from .deformable_encoder import DeformableEncoder, DeformableEncoderLayer
from .fpn import FPN
from .mlp import MLP
from .multi_scale_deformable_attention import MultiScaleDeformableAttention
from .position_encoding import SinePositionEncoding
from .roi_extractor import RoIAlign, SingleRoIExtractor

__all__ = ['FPN', 'MLP', 'ConvNorm', 'DeformableEncoder', 'DeformableEncoderLayer', 'DetDataPreprocessor',
           'MultiScaleDeformableAttention', 'RoIAlign', 'SinePositionEncoding', 'SingleRoIExtractor']
