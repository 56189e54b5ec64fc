"""MAL's schedule: 10 epochs, one of them warm-up, then a cosine to a fifth of the learning rate."""
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=10, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.2, by_epoch=True, begin=1, end=10, T_max=9,
         convert_to_iter_based=True),
]
# The learning rate is per box: it is always multiplied by the number of boxes of one step, over all GPUs.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=1.5e-6, betas=(0.9, 0.9), weight_decay=5e-4))
auto_scale_lr = dict(enable=True, base_batch_size=1)
