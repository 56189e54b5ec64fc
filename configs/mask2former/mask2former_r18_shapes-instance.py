"""A thin Mask2Former on the drawn shapes: instances of five shapes, on two CPU cores.

The data is drawn by ``draw_shapes('data/shapes', num_train=1500, num_val=150)`` of
``maskforge.datasets.synthetic``.
"""
_base_ = [
    '../_base_/models/mask2former_r18-thin.py', '../_base_/datasets/shapes.py',
    '../_base_/schedules/mask2former_shapes.py', '../_base_/default_runtime.py'
]

model = dict(mode='instance', num_classes=5)
train_dataloader = dict(batch_size=4)
default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(save_best='coco/segm_mAP', rule='greater', max_keep_ckpts=1))
visualizer = dict(min_side=320)
randomness = dict(seed=0)
export_cfg = dict(input_height=128, input_width=128)
