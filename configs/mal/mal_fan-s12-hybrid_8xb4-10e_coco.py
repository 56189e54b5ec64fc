"""A hybrid of ConvNeXt and FAN. Without a file of FAN weights (model.backbone.init_cfg) it starts from nothing."""
_base_ = './mal_vit-mae-b16_8xb4-10e_coco.py'
model = dict(arch='fan_small_12_p4_hybrid', backbone=dict(init_cfg=None))
