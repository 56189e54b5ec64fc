"""A quarter of the parameters: ViT-S/16 from DeiT."""
_base_ = './mal_vit-mae-b16_8xb4-10e_coco.py'
model = dict(
    arch='vit-deit-small/16',
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='timm://deit_small_patch16_224')))
