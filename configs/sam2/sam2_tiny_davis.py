"""A small SAM 2 on a few videos of DAVIS, from nothing on a CPU; J&F of the same videos before and after."""
_base_ = ['../_base_/models/sam2.1_hiera-b+.py', '../_base_/sam2_runtime.py']

# the knobs ---------------------------------------------------------------------------------------------------------
resolution = 128
train_batch_size = 2
num_train_workers = 0
num_frames = 3
max_num_objects = 2
base_lr = 2e-3
num_epochs = 10
multiplier = 40  # clips of each video in an epoch
img_folder = 'data/davis/JPEGImages'
gt_folder = 'data/davis/Annotations'
# -------------------------------------------------------------------------------------------------------------------

model = dict(
    network=dict(
        _delete_=True,
        arch=dict(
            embed_dim=16, num_heads=1, stages=(1, 1, 3, 1), global_att_blocks=(3, ), window_spec=(8, 4, 8, 4),
            window_pos_embed_bkg_spatial_size=(8, 8)),
        image_size=resolution,
        drop_path_rate=0.0,
        hidden_dim=32,
        memory_dim=16,
        memory_layers=2,
        memory_feedforward=64,
        memory_dropout=0.0,
        decoder_heads=2,
        decoder_mlp=64),
    prompts=dict(num_correction_pt_per_frame=1),
    loss=dict(ungated=True),
    activation_checkpoint=())

train_pipeline = [
    dict(type='ClipRandomFlip'),
    dict(type='ClipRandomAffine', degrees=10, shear=5),
    dict(type='ClipResize', sizes=resolution, square=True),
    dict(type='ClipColorJitter', brightness=0.1, contrast=0.03, saturation=0.03),
    dict(type='PackClip'),
]
train_dataloader = dict(
    batch_size=train_batch_size,
    num_workers=num_train_workers,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='VOSDataset',
        video_dataset=dict(type='PNGRawDataset', img_folder=img_folder, gt_folder=gt_folder),
        sampler=dict(
            type='RandomUniformSampler', num_frames=num_frames, max_num_objects=max_num_objects,
            reverse_time_prob=0.5),
        pipeline=train_pipeline,
        multiplier=multiplier))
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='WholeVideoDataset',
        video_dataset=dict(type='PNGRawDataset', img_folder=img_folder, gt_folder=gt_folder),
        image_size=resolution,
        interpolation='bilinear',
        test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(type='VOSMetric')
test_evaluator = val_evaluator

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=num_epochs, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=base_lr, weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    constructor='PatternOptimWrapperConstructor',
    paramwise_cfg=dict(
        rules=dict(weight_decay=[
            dict(value=0.0, param_names=['*bias*'], module_cls_names=['torch.nn.LayerNorm'])])))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=0.5, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, begin=0.5, end=num_epochs, by_epoch=True,
         convert_to_iter_based=True),
]
auto_scale_lr = dict(enable=False, base_batch_size=2)

default_hooks = dict(checkpoint=dict(save_best='vos/JF', rule='greater'))
custom_hooks = [dict(type='NaNGuardHook'), dict(type='InitialValidationHook')]
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(vis_backends=vis_backends)
randomness = dict(seed=0)
