"""A small MAL on the drawn shapes: boxes in, masks out, from nothing on two CPU cores.

The data is drawn by ``draw_shapes("data/shapes", num_train=1500, num_val=150)`` of ``maskforge.datasets.synthetic``;
the masks of its training pictures are never read.
"""
_base_ = ['../_base_/default_runtime.py']

data_root = 'data/shapes/'
crop_size = 96

model = dict(
    type='MAL',
    arch='vit-deit-tiny/16',
    backbone=dict(embed_dim=96, depth=4, num_heads=4, patch_size=8, img_size=crop_size),
    data_preprocessor=dict(
        type='BoxCropPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    mask_head_hidden_channel=48,
    mask_head_out_channel=48,
    not_adjust_scale=True,
    teacher_momentum=0.98,
    # foreground can be less certain than background, so that the mean field cuts corners of the box off
    crf_value_high=0.87,
    crf_zeta=0.15,
    crf_num_iter=40,
    loss_crf_weight=2.0,
    loss_mil_step=50,
    loss_crf_step=300,
    mask_thres=[0.5])

train_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type='GroupedBoxSampler', shuffle=True),
    dataset=dict(
        type='BoxCropDataset',
        data_root=data_root,
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'),
        crop_size=crop_size,
        min_obj_size=100))
val_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type='GroupedBoxSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='BoxCropDataset',
        data_root=data_root,
        ann_file='annotations/instances_val.json',
        data_prefix=dict(img='val/'),
        crop_size=crop_size,
        load_mask=True,
        test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(type='PseudoLabelMetric', classwise=True)
test_evaluator = val_evaluator

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=6, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', begin=0, end=6, T_max=6, eta_min=1e-5, by_epoch=True, convert_to_iter_based=True),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01),
    clip_grad=dict(max_norm=5.0))
auto_scale_lr = dict(enable=False, base_batch_size=16)

custom_hooks = [dict(type='MomentumTeacherHook'), dict(type='NaNGuardHook')]
default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(save_best='mal/mIoU', rule='greater', max_keep_ckpts=1),
    visualization=None)
randomness = dict(seed=0)
