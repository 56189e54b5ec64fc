"""Own data in KITTI's format: convert it, then train from the shards.

    maskforge convert kitti sequences.txt data/kitti/coco --data-root data/kitti --mapping mapping.json \
        --num-shards 32 --num-partitions 2 --val-split 20

writes ``data/kitti/coco/<sequence>/<sequence>-fold-000-of-002-shard-*.json`` (validation) and fold 001 (training).
"""
_base_ = './deformable-detr-refine_r50_16xb2-50e_coco.py'

data_root = 'data/kitti/'
shards = data_root + 'coco/*/*-fold-{}-of-002-shard-*.json'
classes = ('person', 'face', 'bag')

model = dict(num_classes=len(classes))
train_dataloader = dict(
    sampler=dict(type='default_sampler'),
    dataset=dict(
        _delete_=True,
        type='CocoSourcesDataset',
        data_sources=[dict(image_dir=data_root, json_file=shards.format('001'))],
        metainfo=dict(classes=classes),
        min_box_side=0,
        pipeline={{_base_.train_pipeline}}))
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='CocoSourcesDataset',
        data_sources=[dict(image_dir=data_root, json_file=shards.format('000'))],
        metainfo=dict(classes=classes),
        test_mode=True,
        pipeline={{_base_.test_pipeline}}))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=shards.format('000'))
test_evaluator = val_evaluator
