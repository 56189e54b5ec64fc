"""The official recipe: SAM 2.1 B+ on MOSE, 8 GPUs x 1 clip, 40 epochs.

``maskforge video-lists data/MOSE/train/JPEGImages data/MOSE --num-val 200`` writes the two lists.
"""
_base_ = [
    '../_base_/models/sam2.1_hiera-b+.py', '../_base_/schedules/sam2_finetune.py', '../_base_/sam2_runtime.py'
]

# the knobs ---------------------------------------------------------------------------------------------------------
resolution = 1024  # any multiple of 32
train_batch_size = 1  # clips on each GPU
num_train_workers = 10
num_frames = 8  # of a clip
max_num_objects = 3  # of a clip
base_lr = 5e-6
vision_lr = 3e-6  # of the image encoder
phases_per_epoch = 1  # parts of an epoch, each with a checkpoint of its own
num_epochs = 40
multiplier = 2  # how often an epoch draws each video
img_folder = 'data/MOSE/train/JPEGImages'
gt_folder = 'data/MOSE/train/Annotations'
file_list_txt = 'data/MOSE/train.txt'  # None: all videos
val_list_txt = 'data/MOSE/val.txt'
# -------------------------------------------------------------------------------------------------------------------

model = dict(network=dict(image_size=resolution))

train_pipeline = [
    dict(type='ClipRandomFlip'),
    dict(type='ClipRandomAffine', degrees=25, shear=20),
    dict(type='ClipResize', sizes=resolution, square=True),
    dict(type='ClipColorJitter', brightness=0.1, contrast=0.03, saturation=0.03),
    dict(type='ClipRandomGrayscale', prob=0.05),
    dict(type='ClipColorJitter', brightness=0.1, contrast=0.05, saturation=0.05, consistent=False),
    dict(type='PackClip'),
]
train_dataloader = dict(
    batch_size=train_batch_size,
    num_workers=num_train_workers,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='MixedSourceBatchSampler', phases_per_epoch=phases_per_epoch, drop_last=True),
    dataset=dict(
        type='VOSDataset',
        video_dataset=dict(
            type='PNGRawDataset', img_folder=img_folder, gt_folder=gt_folder, file_list_txt=file_list_txt),
        sampler=dict(type='RandomUniformSampler', num_frames=num_frames, max_num_objects=max_num_objects),
        pipeline=train_pipeline,
        multiplier=multiplier))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='WholeVideoDataset',
        video_dataset=dict(
            type='PNGRawDataset', img_folder=img_folder, gt_folder=gt_folder, file_list_txt=val_list_txt),
        image_size=resolution,
        test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(type='VOSMetric', table='video')
test_evaluator = val_evaluator

# the loop counts phases
train_cfg = dict(max_epochs=num_epochs * phases_per_epoch, val_interval=10 * phases_per_epoch)
optim_wrapper = dict(
    optimizer=dict(lr=base_lr),
    paramwise_cfg=dict(rules=dict(lr=[dict(value=vision_lr, param_names=['image_encoder.*'])])))
param_scheduler = [
    dict(type='CosineAnnealingLR', eta_min_ratio=0.1, begin=0, end=num_epochs * phases_per_epoch, by_epoch=True,
         convert_to_iter_based=True)]
default_hooks = dict(checkpoint=dict(save_best='vos/JF', rule='greater'))

load_from = 'https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_base_plus.pt'
