"""A thin Mask2Former on the drawn shapes: semantic, five shapes and two kinds of background, on two CPU cores.

The data is drawn by ``draw_shapes('data/shapes', num_train=1500, num_val=150, semantic=True)`` of
``maskforge.datasets.synthetic``.
"""
_base_ = [
    '../_base_/models/mask2former_r18-thin.py', '../_base_/datasets/shapes_semantic.py',
    '../_base_/schedules/mask2former_shapes.py', '../_base_/default_runtime.py'
]

model = dict(mode='semantic', num_classes=7, no_object_weight=0.3)
train_dataloader = dict(batch_size=4)
default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(save_best='mIoU', rule='greater', max_keep_ckpts=1))
visualizer = dict(min_side=320)
randomness = dict(seed=0)
export_cfg = dict(input_height=128, input_width=128)
