"""50 epochs of COCO at 16 images a step (8 GPUs x 2), as the paper's code counts them: in iterations."""
train_cfg = dict(type='IterBasedTrainLoop', max_iters=368750, val_interval=5000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [dict(type='MultiStepLR', by_epoch=False, milestones=[327778, 355092], gamma=0.1)]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
    clip_grad=dict(type='full', max_norm=0.01, norm_type=2),
    # norms, queries, the decoder's level codes and Swin's tables of positions do not decay
    paramwise_cfg=dict(
        norm_decay_mult=0.,
        embedding_decay_mult=0.,
        custom_keys={'backbone': dict(lr_mult=0.1, norm_decay_mult=0., embedding_decay_mult=0.)}))

# Do not change base_batch_size: it is the batch (8 GPUs x 2 images) that the learning rate above belongs to.
auto_scale_lr = dict(enable=False, base_batch_size=16)
