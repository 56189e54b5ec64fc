"""Mask2Former, R50, 50 epochs of COCO panoptic with large-scale jitter: the paper's recipe."""
_base_ = [
    '../_base_/models/mask2former_r50.py', '../_base_/datasets/coco_panoptic_lsj.py',
    '../_base_/schedules/mask2former_lsj-50e.py', '../_base_/iteration_runtime.py'
]
# both figures of the paper's table in one pass: things count as instances, too
model = dict(mode=['panoptic', 'instance'])
val_evaluator = [
    dict(
        type='CocoPanopticMetric',
        ann_file={{_base_.data_root}} + 'annotations/panoptic_val2017.json',
        seg_prefix={{_base_.data_root}} + 'annotations/panoptic_val2017/'),
    dict(
        type='CocoMetric',
        ann_file={{_base_.data_root}} + 'annotations/instances_val2017.json',
        metric=['bbox', 'segm']),
]
test_evaluator = val_evaluator
