"""What runs of SAM 2 share beside the common runtime."""
_base_ = './default_runtime.py'
default_hooks = dict(
    logger=dict(interval=10),
    # the newest epoch only; keep_interval and save_list keep more
    checkpoint=dict(interval=1, max_keep_ckpts=1),
    visualization=None)
# clips and images have one size
env_cfg = dict(cudnn_benchmark=True)
vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(vis_backends=vis_backends)
log_processor = dict(window_size=10)
randomness = dict(seed=123)
