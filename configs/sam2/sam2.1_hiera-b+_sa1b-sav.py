"""Training on images and videos: SA-1B and SA-V, each batch from one of them (SAM 2, arXiv 2408.00714v1, table 13).

The paper's run: MAE weights, 90k steps on SA-1B alone, then 300k of these with batches of 256 over 256 GPUs, and a
third source that is not public. Its shares were 15.2 % SA-1B and 70 % SA-V; without the third they are 18 and 82.
"""
_base_ = [
    '../_base_/models/sam2.1_hiera-b+.py', '../_base_/schedules/sam2_finetune.py', '../_base_/sam2_runtime.py'
]

# the knobs ---------------------------------------------------------------------------------------------------------
resolution = 1024
image_batch_size, video_batch_size = 1, 1  # on each GPU; up to image_objects or max_num_objects each
num_train_workers = 10
num_frames = 8
image_objects, max_num_objects = 64, 3
reverse_time_prob = 0.5
image_share, video_share = 0.18, 0.82  # of the steps; None below: by the number of batches
base_lr = 3e-4  # for 256 samples a step; --auto-scale-lr adapts it
vision_lr = 6e-5
phases_per_epoch = 8  # SA-1B has 11 million images: a checkpoint at every eighth
num_epochs = 1
warmup = 0.05  # part of the run: 15k of 300k steps
sa1b_folder = 'data/sa-1b'
sav_frames, sav_masks = 'data/sa-v/sav_train_frames', 'data/sa-v/sav_train'
# -------------------------------------------------------------------------------------------------------------------

model = dict(
    # objects are computed in groups of so many, for images of 64 objects fit no GPU at once
    objects_per_chunk=8,
    network=dict(image_size=resolution, drop_path_rate=0.2))

image_pipeline = [
    dict(type='ClipRandomFlip'),
    dict(type='ClipResize', sizes=resolution, square=True),
    dict(type='PackClip'),
]
video_pipeline = [
    dict(type='ClipRandomFlip'),
    dict(type='ClipRandomAffine', degrees=25, shear=20),
    dict(type='ClipResize', sizes=resolution, square=True),
    dict(type='ClipColorJitter', brightness=0.1, contrast=0.03, saturation=0.03),
    dict(type='ClipRandomGrayscale', prob=0.05),
    dict(type='ClipColorJitter', brightness=0.1, contrast=0.05, saturation=0.05, consistent=False),
    dict(type='PackClip'),
]
images = dict(
    type='VOSDataset',
    # masks of nearly the whole picture are left out
    video_dataset=dict(
        type='SA1BRawDataset', img_folder=sa1b_folder, gt_folder=sa1b_folder, mask_area_frac_thresh=0.9),
    sampler=dict(type='RandomUniformSampler', num_frames=1, max_num_objects=image_objects),
    pipeline=image_pipeline,
    multiplier=1)
videos = dict(
    type='VOSDataset',
    video_dataset=dict(type='JSONRawDataset', img_folder=sav_frames, gt_folder=sav_masks, ann_every=4),
    sampler=dict(
        type='RandomUniformSampler', num_frames=num_frames, max_num_objects=max_num_objects,
        reverse_time_prob=reverse_time_prob),
    pipeline=video_pipeline,
    multiplier=1)
train_dataloader = dict(
    num_workers=num_train_workers,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(
        type='MixedSourceBatchSampler',
        batch_sizes=[image_batch_size, video_batch_size],
        probabilities=[image_share, video_share],
        phases_per_epoch=phases_per_epoch,
        drop_last=True),
    dataset=dict(type='ConcatDataset', datasets=[images, videos]))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='WholeVideoDataset',
        video_dataset=dict(
            type='PNGRawDataset',
            data_root='data/sa-v/sav_val',
            img_folder='JPEGImages_24fps',
            gt_folder='Annotations_6fps',
            is_palette=False),
        image_size=resolution,
        test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(type='VOSMetric', table='video')
test_evaluator = val_evaluator

num_phases = num_epochs * phases_per_epoch
train_cfg = dict(max_epochs=num_phases, val_interval=1)
optim_wrapper = dict(
    optimizer=dict(lr=base_lr),
    paramwise_cfg=dict(rules=dict(lr=[dict(value=vision_lr, param_names=['image_encoder.*'])])))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=warmup * num_phases, by_epoch=True,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.1, begin=warmup * num_phases, end=num_phases, by_epoch=True,
         convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=256)
default_hooks = dict(checkpoint=dict(save_best='vos/JF', rule='greater', keep_interval=4))

load_from = 'https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_base_plus.pt'
