"""A small two-stage Deformable DETR on the drawn shapes: trains from nothing on two CPU cores.

The same model as the COCO configs, made thin: half a ResNet-18, 128 channels, two encoder and three decoder layers,
three levels, 40 queries. The data is drawn by ``draw_shapes('data/shapes', num_train=1500, num_val=150)`` of
``maskforge.datasets.synthetic``.
"""
_base_ = ['../_base_/datasets/shapes.py', '../_base_/default_runtime.py']

num_classes = 5  # circle, square, triangle, star, cross

model = dict(
    type='DeformableDETR',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(type='ResNet', depth=18, base_channels=32, norm_eval=False, zero_init_residual=False),
    num_classes=num_classes,
    num_feature_levels=3,
    return_interm_indices=[1, 2, 3],
    num_queries=40,
    hidden_dim=128,
    nheads=4,
    enc_layers=2,
    dec_layers=3,
    dim_feedforward=256,
    dropout_ratio=0.0,
    with_box_refine=True,
    two_stage=True,
    num_select=40)

train_dataloader = dict(batch_size=8)
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=9, val_interval=3)
val_cfg = dict(type='ValLoop', val_loss=True)
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', begin=0, end=9, T_max=9, eta_min=1e-5, by_epoch=True, convert_to_iter_based=True),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=1e-4),
    clip_grad=dict(max_norm=1.0, norm_type=2),
    paramwise_cfg=dict(custom_keys={
        'sampling_offsets': dict(lr_mult=0.1)}))
auto_scale_lr = dict(enable=False, base_batch_size=8)

default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(save_best='coco/bbox_mAP', rule='greater', max_keep_ckpts=1))
visualizer = dict(min_side=320)
randomness = dict(seed=0)
export_cfg = dict(type='ExportLoop', input_height=128, input_width=128)
