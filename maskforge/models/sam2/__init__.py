"""SAM 2: promptable segmentation of images and videos."""
from .network import SAM2Network
from .weights import HieraTrunkLayout, HuggingFaceSAM2Layout, OfficialSAM2Layout, write_official

__all__ = ['HieraTrunkLayout', 'HuggingFaceSAM2Layout', 'OfficialSAM2Layout', 'SAM2Network', 'write_official']
