"""Swin-T, 160,000 iterations of ADE20K, semantic, crops of 512 x 512."""
_base_ = [
    '../_base_/models/mask2former_swin-t.py', '../_base_/datasets/ade20k_semantic.py',
    '../_base_/schedules/mask2former_poly-160k.py', '../_base_/iteration_runtime.py'
]
model = dict(num_classes=150, mode='semantic')
