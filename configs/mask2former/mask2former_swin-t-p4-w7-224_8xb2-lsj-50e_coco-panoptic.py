"""Swin-T, 50 epochs of COCO panoptic with large-scale jitter."""
_base_ = [
    '../_base_/models/mask2former_swin-t.py', '../_base_/datasets/coco_panoptic_lsj.py',
    '../_base_/schedules/mask2former_lsj-50e.py', '../_base_/iteration_runtime.py'
]
