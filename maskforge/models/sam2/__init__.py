"""SAM 2: promptable segmentation of images and videos."""
from .clip_preprocessor import ClipPreprocessor
from .model import SAM2
from .network import SAM2Network
from .weights import HieraTrunkLayout, HuggingFaceSAM2Layout, OfficialSAM2Layout, write_official

__all__ = ['SAM2', 'ClipPreprocessor', 'HieraTrunkLayout', 'HuggingFaceSAM2Layout', 'OfficialSAM2Layout', 'SAM2Network',
           'write_official']
