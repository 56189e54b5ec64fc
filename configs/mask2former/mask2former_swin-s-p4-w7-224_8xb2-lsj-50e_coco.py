"""Swin-S, COCO's instances."""
_base_ = './mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco.py'
model = dict(
    backbone=dict(
        arch='small', init_cfg=dict(checkpoint='timm://swin_small_patch4_window7_224.ms_in1k')))
