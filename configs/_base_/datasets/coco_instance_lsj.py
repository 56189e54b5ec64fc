"""COCO instances with large-scale jitter at 1024 x 1024, Mask2Former's recipe; loader workers draw the masks."""
_base_ = './coco_instance.py'

image_size = (1024, 1024)
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{_base_.backend_args}}),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=False),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=image_size, ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_type='absolute', crop_size=image_size, recompute_bbox=True, allow_negative_crop=True),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-5, 1e-5), by_mask=True, keep_empty=False),
    dict(type='Pad', size=image_size, pad_val=dict(img=128)),
    dict(type='PackDetInputs', dense_masks=True),
]
# all images have one size: nothing to group
train_dataloader = dict(num_workers=4, batch_sampler=None, dataset=dict(pipeline=train_pipeline))
