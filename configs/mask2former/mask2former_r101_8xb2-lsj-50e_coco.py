"""ResNet-101 in the place of ResNet-50, COCO's instances."""
_base_ = './mask2former_r50_8xb2-lsj-50e_coco.py'
model = dict(
    backbone=dict(depth=101, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101')))
