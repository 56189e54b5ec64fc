"""SAM 2: promptable segmentation of images and videos."""
from .automatic_masks import AutomaticMaskGenerator
from .clip_preprocessor import ClipPreprocessor
from .image_predictor import ImagePredictor
from .model import SAM2
from .network import SAM2Network
from .video_predictor import VideoPredictor
from .weights import HieraTrunkLayout, HuggingFaceSAM2Layout, OfficialSAM2Layout

__all__ = ['SAM2', 'AutomaticMaskGenerator', 'ClipPreprocessor', 'HieraTrunkLayout', 'HuggingFaceSAM2Layout',
           'ImagePredictor', 'OfficialSAM2Layout', 'SAM2Network', 'VideoPredictor']
