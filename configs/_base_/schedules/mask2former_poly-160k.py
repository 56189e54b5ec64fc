"""160,000 iterations of 16 images with a rate that falls to zero, almost in a straight line (ADE20K)."""
_base_ = './mask2former_lsj-50e.py'
train_cfg = dict(max_iters=160000)
param_scheduler = [dict(type='PolyLR', by_epoch=False, begin=0, end=160000, power=0.9)]
