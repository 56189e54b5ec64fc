"""Pure functions of tensors: boxes, anchors, suppression, RoIAlign, mask pasting, deformable attention."""
from .anchors import AnchorGenerator, base_anchors, grid_anchors
from .box_coding import DeltaXYWHBBoxCoder, decode_deltas, encode_deltas
from .boxes import (
    box_area,
    box_iof,
    box_iou,
    clip_boxes,
    cxcywh_to_xyxy,
    flip_boxes,
    generalized_box_iou,
    larger_than,
    scale_boxes,
    xyxy_to_cxcywh,
)
from .deformable_attention import attention_implementation, multi_scale_deformable_attention
from .masks import paste_masks, paste_packed, paste_to_rles
from .nms import grouped_nms, multiclass_nms, nms_mask
from .roi_align import can_align_levels, roi_align, roi_align_levels

__all__ = [
    'AnchorGenerator',
    'DeltaXYWHBBoxCoder',
    'attention_implementation',
    'base_anchors',
    'box_area',
    'box_iof',
    'box_iou',
    'can_align_levels',
    'clip_boxes',
    'cxcywh_to_xyxy',
    'decode_deltas',
    'encode_deltas',
    'flip_boxes',
    'generalized_box_iou',
    'grid_anchors',
    'grouped_nms',
    'larger_than',
    'multi_scale_deformable_attention',
    'multiclass_nms',
    'nms_mask',
    'paste_masks',
    'paste_packed',
    'paste_to_rles',
    'roi_align',
    'roi_align_levels',
    'scale_boxes',
    'xyxy_to_cxcywh',
]
