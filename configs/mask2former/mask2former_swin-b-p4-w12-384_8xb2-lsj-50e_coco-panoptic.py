"""Swin-B with windows of 12, pre-trained at 384 pixels on ImageNet-1k."""
_base_ = './mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco-panoptic.py'
model = dict(
    backbone=dict(
        arch='base',
        window_size=12,
        pretrain_img_size=384,
        init_cfg=dict(checkpoint='timm://swin_base_patch4_window12_384.ms_in1k')))
