"""Mask2Former with Swin-T, window 7; the other sizes by backbone.arch, each with weights of its own."""
_base_ = './mask2former_r50.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='SwinTransformer',
        arch='tiny',
        window_size=7,
        drop_path_rate=0.3,
        ape=False,
        patch_norm=True,
        init_cfg=dict(type='Pretrained', checkpoint='timm://swin_tiny_patch4_window7_224.ms_in1k')))
