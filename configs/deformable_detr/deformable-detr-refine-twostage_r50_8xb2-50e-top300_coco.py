"""Better figures for the same model: half the batch and rate, only the stem frozen, 300 detections per image."""
_base_ = './deformable-detr-refine-twostage_r50_16xb2-50e_coco.py'
model = dict(backbone=dict(frozen_stages=0), num_select=300)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
# Do not change base_batch_size: it is the batch (8 GPUs x 2 images) that the learning rate above belongs to.
auto_scale_lr = dict(enable=False, base_batch_size=16)
