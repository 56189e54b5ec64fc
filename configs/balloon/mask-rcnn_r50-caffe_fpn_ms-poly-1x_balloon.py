"""Balloons from VIA polygons: convert with `maskforge convert via`, see docs/guides/own_data.md."""
_base_ = '../mask_rcnn/mask-rcnn_r50-caffe_fpn_ms-poly-1x_coco.py'

# One class: both heads are told.
model = dict(roi_head=dict(bbox_head=dict(num_classes=1), mask_head=dict(num_classes=1)))

data_root = 'data/balloon/'
metainfo = {'classes': ('balloon', ), 'palette': [(220, 20, 60)]}
train_dataloader = dict(
    batch_size=1,
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='train/annotation_coco.json',
        data_prefix=dict(img='train/')))
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='val/annotation_coco.json',
        data_prefix=dict(img='val/')))
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=data_root + 'val/annotation_coco.json')
test_evaluator = val_evaluator

# Fine-tune a public COCO model (MMDetection's file of that name, or any Mask R-CNN in a known layout):
# python tools/train.py THIS --load-from mask_rcnn_r50_caffe_fpn_mstrain-poly_3x_coco.pth
