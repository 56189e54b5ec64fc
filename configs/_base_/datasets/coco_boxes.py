"""COCO's boxes, one crop each; the masks of the validation set serve for measuring only."""
dataset_type = 'BoxCropDataset'
data_root = 'data/coco/'

train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    # the boxes of an image follow each other, so that it is decoded once
    sampler=dict(type='GroupedBoxSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'),
        crop_size=512,
        min_obj_size=2048,
        max_obj_size=1e10,
        margin_rate=(0, 1.2)))
val_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='GroupedBoxSampler', shuffle=False, round_up=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        crop_size=512,
        test_margin_rate=0.6,
        load_mask=True,
        test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(type='PseudoLabelMetric')
test_evaluator = val_evaluator

label_cfg = dict(
    ann_file=data_root + 'annotations/instances_train2017.json',
    img_dir=data_root + 'train2017/',
    out='work_dirs/mal_labels/instances_train2017.json',
    batch_size=16)
