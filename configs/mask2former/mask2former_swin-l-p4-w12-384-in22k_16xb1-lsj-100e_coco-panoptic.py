"""Swin-L pre-trained on ImageNet-22k, 200 queries, 100 epochs, 16 GPUs x 1 image."""
_base_ = './mask2former_swin-b-p4-w12-384-in22k_8xb2-lsj-50e_coco-panoptic.py'
model = dict(
    backbone=dict(arch='large', init_cfg=dict(checkpoint='timm://swin_large_patch4_window12_384.ms_in22k')),
    num_queries=200)
train_dataloader = dict(batch_size=1)
train_cfg = dict(max_iters=737500)
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[655556, 710184], gamma=0.1)]
