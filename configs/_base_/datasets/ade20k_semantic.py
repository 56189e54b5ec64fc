"""ADE20K's 150 classes, semantic; crops of 512 x 512.

The lists and the label map are made by
``maskforge convert ade20k data/ADEChallengeData2016 data/ADEChallengeData2016/training.jsonl --split training
--label-map data/ADEChallengeData2016/classes.json``, and the same with ``validation``.
"""
dataset_type = 'SemanticJsonlDataset'
data_root = 'data/ADEChallengeData2016/'
label_map = 'classes.json'
crop_size = (512, 512)
backend_args = None

load_maps = dict(
    type='LoadAnnotations', with_bbox=False, with_label=False, with_seg=True, reduce_zero_label=True,
    backend_args=backend_args)
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    load_maps,
    dict(type='SegmentationTrainTransform',
         train_min_size=[int(tenths * 51.2) for tenths in range(5, 21)],
         train_max_size=2048,
         train_crop_size=crop_size,
         category_max_ratio=1.0,
         keep_empty=True),
    dict(type='SemSegToInstances'),
    dict(type='PackDetInputs', dense_masks=True),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='SegmentationTestTransform', test_min_size=512, test_max_size=2048),
    load_maps,
    dict(type='SemSegToInstances'),
    # the metric reads the map itself, at the size of the original image
    dict(type='PackDetInputs',
         meta_keys=('img_id', 'img_path', 'seg_map_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='training.jsonl',
        label_map=label_map,
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='validation.jsonl',
        label_map=label_map,
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'], reduce_zero_label=True)
test_evaluator = val_evaluator
