"""Mask2Former, R50, 50 epochs of COCO panoptic with large-scale jitter: the paper's recipe."""
_base_ = [
    '../_base_/models/mask2former_r50.py', '../_base_/datasets/coco_panoptic_lsj.py',
    '../_base_/schedules/mask2former_lsj-50e.py', '../_base_/iteration_runtime.py'
]
