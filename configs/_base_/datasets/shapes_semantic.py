"""The drawn shapes, semantic: seven classes, wall and floor among them, 128 pixels.

Drawn by ``draw_shapes('data/shapes', num_train=1500, num_val=150, semantic=True)`` of ``maskforge.datasets.synthetic``.
"""
data_root = 'data/shapes/'

load_maps = dict(type='LoadAnnotations', with_bbox=False, with_label=False, with_seg=True, reduce_zero_label=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    load_maps,
    dict(type='RandomFlip', prob=0.5),
    dict(type='SemSegToInstances'),
    dict(type='PackDetInputs', dense_masks=True),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 128), keep_ratio=True),
    load_maps,
    dict(type='SemSegToInstances'),
    dict(type='PackDetInputs',
         meta_keys=('img_id', 'img_path', 'seg_map_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='SemanticJsonlDataset',
        data_root=data_root,
        ann_file='annotations/semantic_train.jsonl',
        label_map='annotations/semantic_classes.json',
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type='SemanticJsonlDataset',
        data_root=data_root,
        ann_file='annotations/semantic_val.jsonl',
        label_map='annotations/semantic_classes.json',
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'], reduce_zero_label=True)
test_evaluator = val_evaluator
