"""EfficientViT-L1; the other sizes by backbone.arch, b0 .. b3 and l0 .. l3 (l0 has no public weights)."""
_base_ = './mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='EfficientViT',
        arch='l1',
        norm_eps=1e-7,  # of timm's weights of the L networks; those of TAO and of b0 .. b3 have 1e-5
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='timm://efficientvit_l1.r224_in1k')))
