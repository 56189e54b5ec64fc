"""Box refinement on GC-ViT tiny; the other sizes by model.backbone.arch: gc_vit_xxtiny .. gc_vit_large."""
_base_ = './deformable-detr-refine_r50_16xb2-50e_coco.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='GCViT',
        arch='gc_vit_tiny',
        drop_path_rate=0.2,
        init_cfg=dict(type='Pretrained', checkpoint='timm://gcvit_tiny.in1k')))
