"""Swin-B pre-trained on ImageNet-22k."""
_base_ = './mask2former_swin-b-p4-w12-384_8xb2-lsj-50e_coco-panoptic.py'
model = dict(backbone=dict(init_cfg=dict(checkpoint='timm://swin_base_patch4_window12_384.ms_in22k')))
