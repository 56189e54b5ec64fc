"""What every run shares that counts iterations rather than epochs."""
_base_ = './default_runtime.py'
default_hooks = dict(checkpoint=dict(interval=5000, by_epoch=False, max_keep_ckpts=3))
log_processor = dict(by_epoch=False)
