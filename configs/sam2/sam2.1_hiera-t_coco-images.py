"""Fine-tuning on images alone, from any COCO instance JSON; measured by mIoU after 1, 3 and 5 clicks."""
_base_ = [
    '../_base_/models/sam2.1_hiera-b+.py', '../_base_/schedules/sam2_finetune.py', '../_base_/sam2_runtime.py'
]

# the knobs ---------------------------------------------------------------------------------------------------------
resolution = 1024
train_batch_size = 4
num_train_workers = 4
max_num_objects = 8
base_lr = 5e-6
vision_lr = 3e-6
phases_per_epoch = 4  # a pass over 118,287 images is long: four checkpoints of each
num_epochs = 2
data_root = 'data/coco/'
# -------------------------------------------------------------------------------------------------------------------

model = dict(
    # images always begin with clicks or boxes: half of them with each
    network=dict(arch='tiny', image_size=resolution),
    test_cfg=dict(prompts='clicks', clicks=(1, 3, 5)))

train_pipeline = [
    dict(type='ClipRandomFlip'),
    dict(type='ClipResize', sizes=resolution, square=True),
    dict(type='ClipColorJitter', brightness=0.1, contrast=0.03, saturation=0.03),
    dict(type='PackClip'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape')),
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
            type='CocoRawDataset',
            dataset=dict(
                type='CocoDataset',
                data_root=data_root,
                ann_file='annotations/instances_train2017.json',
                data_prefix=dict(img='train2017/'))),
        sampler=dict(type='RandomUniformSampler', num_frames=1, max_num_objects=max_num_objects),
        pipeline=train_pipeline,
        multiplier=1))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='ClickMetric')
test_evaluator = val_evaluator

num_phases = num_epochs * phases_per_epoch
train_cfg = dict(max_epochs=num_phases, val_interval=phases_per_epoch)
optim_wrapper = dict(
    optimizer=dict(lr=base_lr),
    paramwise_cfg=dict(
        rules=dict(lr=[dict(value=vision_lr, param_names=['image_encoder.*'])]), layer_decay=dict(rate=0.8)))
param_scheduler = [
    dict(type='CosineAnnealingLR', eta_min_ratio=0.1, begin=0, end=num_phases, by_epoch=True,
         convert_to_iter_based=True)]
# 1 GPU x 4 images
auto_scale_lr = dict(base_batch_size=4)
default_hooks = dict(checkpoint=dict(save_best='clicks/mIoU_1', rule='greater'))

load_from = 'https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_tiny.pt'
