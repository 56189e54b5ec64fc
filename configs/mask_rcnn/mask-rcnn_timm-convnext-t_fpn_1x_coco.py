"""Any timm backbone through one adapter; ConvNeXt-T as the example."""
_base_ = './mask-rcnn_r50_fpn_1x_coco.py'
model = dict(
    backbone=dict(
        _delete_=True, type='TimmBackbone', model_name='convnext_tiny.in12k_ft_in1k', pretrained=True,
        out_indices=(0, 1, 2, 3)),
    neck=dict(in_channels=[96, 192, 384, 768]))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=0.05))
