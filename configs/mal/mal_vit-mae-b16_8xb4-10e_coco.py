"""The reference: ViT-B/16 from a masked autoencoder, 8 GPUs x 4 boxes, 10 epochs."""
_base_ = [
    '../_base_/models/mal_vit-mae-b16.py', '../_base_/datasets/coco_boxes.py', '../_base_/default_runtime.py',
    '../_base_/schedules/mal_10e.py'
]
default_hooks = dict(checkpoint=dict(save_best='mal/mIoU', rule='greater', max_keep_ckpts=2))
custom_hooks = [dict(type='NaNGuardHook'), dict(type='MomentumTeacherHook')]
