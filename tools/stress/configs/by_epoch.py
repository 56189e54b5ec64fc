"""A training of a minute or two with everything that a checkpoint must carry: counted in epochs.

A thin Mask R-CNN on the drawn shapes: workers, random crops and colours, an average of the weights, gradients
accumulated over 3 iterations (which does not divide the epoch), a plateau schedule, the best checkpoint.
"""
_base_ = 'maskforge::quickstart/mask-rcnn_r18_fpn_shapes.py'

channels = 16
model = dict(
    backbone=dict(base_channels=8),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=channels),
    rpn_head=dict(in_channels=channels, feat_channels=channels),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels),
        bbox_head=dict(in_channels=channels, fc_out_channels=32),
        mask_roi_extractor=dict(out_channels=channels),
        mask_head=dict(in_channels=channels, conv_out_channels=channels, num_convs=1)),
    train_cfg=dict(rpn_proposal=dict(nms_pre=50, max_per_img=20), rcnn=dict(sampler=dict(num=16))),
    test_cfg=dict(rpn=dict(nms_pre=50, max_per_img=20), rcnn=dict(max_per_img=5)))

train_pipeline = [
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomChoiceResize', scales=[(64, 64), (72, 72)], keep_ratio=True),
    dict(type='RandomCrop', crop_size=(60, 60)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=2, num_workers=2, persistent_workers=True,
    dataset=dict(_delete_=True, type='SyntheticShapesDataset', num_images=40, size=64, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=2,
    dataset=dict(
        _delete_=True, type='SyntheticShapesDataset', num_images=4, size=64, seed=1, test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=None, metric='bbox')
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=8, val_interval=2)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type='AutoReduce', monitor='train_loss', patience=0, threshold=0.01),
]
optim_wrapper = dict(accumulative_counts=3)
custom_hooks = [dict(type='NaNGuardHook'), dict(type='EMAHook', momentum=0.02)]
default_hooks = dict(
    logger=dict(interval=1),
    checkpoint=dict(interval=3, by_epoch=False, max_keep_ckpts=2, save_best='coco/bbox_mAP'),
    visualization=None)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(vis_backends=vis_backends)
