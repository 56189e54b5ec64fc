"""The small training, counted in iterations on an endless stream."""
_base_ = './by_epoch.py'

train_dataloader = dict(sampler=dict(type='InfiniteSampler'))
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=160, val_interval=40)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=20, end=160, T_max=140),
]
log_processor = dict(by_epoch=False)
