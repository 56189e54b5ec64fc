"""COCO panoptic with large-scale jitter at 1024 x 1024, Mask2Former's recipe."""
_base_ = './coco_panoptic.py'

image_size = (1024, 1024)
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='LoadPanopticAnnotations', with_seg=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=image_size, ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_type='absolute', crop_size=image_size, recompute_bbox=True, allow_negative_crop=True),
    dict(type='Pad', size=image_size, pad_val=dict(img=128, seg=255)),
    dict(type='PackDetInputs', dense_masks=True),
]
# all images have one size: nothing to group
train_dataloader = dict(batch_sampler=None, dataset=dict(pipeline=train_pipeline))
