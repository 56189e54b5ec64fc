"""Mixed precision, which the published figures were made with: fp16 with a loss scale; dtype='bfloat16' needs none."""
_base_ = './mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'
optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')
