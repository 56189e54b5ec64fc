"""Mask R-CNN and Faster R-CNN."""
from .bbox_head import ConvFCBBoxHead, Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from .mask_head import FCNMaskHead
from .matching import MaxIoUAssigner
from .model import FasterRCNN, MaskRCNN
from .roi_head import StandardRoIHead
from .rpn import RPNHead
from .sampling import RandomSampler
from .weights import MMDetectionRCNNLayout, TorchvisionRCNNLayout

__all__ = ['ConvFCBBoxHead', 'FCNMaskHead', 'FasterRCNN', 'MMDetectionRCNNLayout', 'MaskRCNN', 'MaxIoUAssigner',
           'RPNHead', 'RandomSampler',
           'Shared2FCBBoxHead', 'Shared4Conv1FCBBoxHead', 'StandardRoIHead', 'TorchvisionRCNNLayout']
