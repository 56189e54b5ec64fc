"""ResNet-101 in the place of ResNet-50, COCO panoptic."""
_base_ = './mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'
model = dict(
    backbone=dict(depth=101, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101')))
