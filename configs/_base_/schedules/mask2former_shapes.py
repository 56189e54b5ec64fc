"""Some minutes on two CPU cores for the thin Mask2Former on the drawn shapes."""
epochs = 14

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=7)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', begin=0, end=epochs, T_max=epochs, eta_min=1e-5, by_epoch=True,
         convert_to_iter_based=True),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=6e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=1.0, norm_type=2),
    paramwise_cfg=dict(norm_decay_mult=0., embedding_decay_mult=0.))
auto_scale_lr = dict(enable=False, base_batch_size=4)
