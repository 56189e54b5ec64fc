"""The small training made smaller still, for thousands of iterations."""
_base_ = './by_iteration.py'

train_dataloader = dict(batch_size=1, dataset=dict(size=32, num_images=200))
train_cfg = dict(max_iters=10000, val_interval=2000)
val_dataloader = dict(dataset=dict(size=32))
test_dataloader = val_dataloader
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=500))
