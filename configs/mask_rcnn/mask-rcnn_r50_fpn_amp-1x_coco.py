"""Mixed precision, fp16 with a loss scale on GPUs; dtype='bfloat16' needs none and works on CPUs as well."""
_base_ = './mask-rcnn_r50_fpn_1x_coco.py'
optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')
