"""Faster R-CNN: Mask R-CNN without the mask head, and without low-quality matches in the second stage."""
_base_ = './mask-rcnn_r50_fpn.py'
model = dict(
    type='FasterRCNN',
    roi_head=dict(mask_roi_extractor=None, mask_head=None),
    train_cfg=dict(rcnn=dict(assigner=dict(match_low_quality=False), mask_size=None)),
    test_cfg=dict(rcnn=dict(mask_thr_binary=None)))
