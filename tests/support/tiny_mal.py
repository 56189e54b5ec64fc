"""A tiny MAL over drawn shapes: data on disk and a whole config."""
from pathlib import Path
from typing import Any

from maskforge.datasets.synthetic import DrawnShapes, draw_shapes

CROP = 64
MODEL: dict[str, Any] = dict(
    type='MAL', arch='vit-deit-tiny/16',
    backbone=dict(embed_dim=48, depth=2, num_heads=4, patch_size=8, img_size=CROP),
    data_preprocessor=dict(type='BoxCropPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                           bgr_to_rgb=True),
    mask_head_hidden_channel=24, mask_head_out_channel=16, crf_num_iter=10, loss_mil_step=4, loss_crf_step=8,
    teacher_momentum=0.9)


def draw_boxes(root: Path, *, num_train: int = 6, num_val: int = 3, size: int = 96, seed: int = 0) -> DrawnShapes:
    """Draw pictures with a few shapes each; their COCO files hold boxes and masks."""
    return draw_shapes(root, num_train=num_train, num_val=num_val, size=size, seed=seed, max_objects=3)


def box_dataset(drawn: DrawnShapes, split: str, **changes) -> dict:
    """The config of ``BoxCropDataset`` over one split."""
    return {**dict(type='BoxCropDataset', ann_file=str(drawn.annotations[split]),
                   data_prefix=dict(img=str(drawn.images[split])), crop_size=CROP, min_obj_size=0,
                   test_mode=split != 'train'), **changes}


def tiny_mal_config(drawn: DrawnShapes, work_dir: Path | str, *, model: dict | None = None, batch_size: int = 4,
                    **changes) -> dict:
    """A whole config for ``Runner.from_cfg``: three epochs on the CPU, seconds each.

    Args:
        model: values that replace those of ``MODEL``.
        changes: values that replace those of the config's top level.
    """
    loader = dict(batch_size=batch_size, num_workers=0, collate_fn=dict(type='pseudo_collate'))
    config = dict(
        model={**MODEL, **(model or {})}, work_dir=str(work_dir),
        train_dataloader=dict(loader, dataset=box_dataset(drawn, 'train'),
                              sampler=dict(type='GroupedBoxSampler', shuffle=True)),
        train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=100),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.9), weight_decay=5e-4)),
        custom_hooks=[dict(type='MomentumTeacherHook')],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1),
                           logger=dict(type='LoggerHook', interval=1)),
        randomness=dict(seed=3), default_scope='maskforge', visualizer=None)
    return {**config, **changes}
