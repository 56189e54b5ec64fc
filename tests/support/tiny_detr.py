"""A tiny Deformable DETR over drawn shapes: data on disk and a whole config."""
from pathlib import Path
from typing import Any

from maskforge.datasets.synthetic import DrawnShapes, draw_shapes

MODEL: dict[str, Any] = dict(
    type='DeformableDETR', num_classes=5, num_feature_levels=2, return_interm_indices=[2, 3], num_queries=12,
    backbone=dict(type='ResNet', depth=18, base_channels=8, norm_eval=False, zero_init_residual=False), hidden_dim=32,
    nheads=2, enc_layers=1, dec_layers=2, dim_feedforward=32, dropout_ratio=0.1, with_box_refine=True, two_stage=True,
    num_select=12)
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]


def draw_pictures(root: Path, *, num_train: int = 6, num_val: int = 3) -> DrawnShapes:
    """Draw small pictures with a few shapes each."""
    return draw_shapes(root, num_train=num_train, num_val=num_val, size=96, max_objects=3)


def tiny_detr_config(drawn: DrawnShapes, work_dir: Path | str, *, model: dict | None = None, batch_size: int = 2,
                     **changes) -> dict:
    """A whole config for ``Runner.from_cfg``: two epochs on the CPU, seconds each.

    Args:
        model: values that replace those of ``MODEL``.
        changes: values that replace those of the config's top level.
    """
    def loader(split: str, steps: list[dict], **more) -> dict:
        return dict(batch_size=batch_size, num_workers=0, collate_fn=dict(type='pseudo_collate'), dataset=dict(
            type='CocoDataset', ann_file=str(drawn.annotations[split]), data_prefix=dict(img=str(drawn.images[split])),
            pipeline=[*PIPELINE, *steps, dict(type='PackDetInputs')], **more))
    flip = [dict(type='RandomFlip', prob=0.5)]
    val = dict(loader('val', [], test_mode=True), sampler=dict(type='DefaultSampler', shuffle=False, round_up=False))
    config = dict(
        model={**MODEL, **(model or {})}, work_dir=str(work_dir),
        train_dataloader=dict(loader('train', flip), sampler=dict(type='DefaultSampler', shuffle=True)),
        train_cfg=dict(by_epoch=True, max_epochs=2, val_interval=1),
        val_dataloader=val, val_cfg=dict(type='ValLoop', val_loss=True),
        val_evaluator=dict(type='CocoMetric', ann_file=str(drawn.annotations['val'])),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3), clip_grad=dict(max_norm=1.0)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=2, by_epoch=False),
                           logger=dict(type='LoggerHook', interval=1)),
        randomness=dict(seed=3), default_scope='maskforge', visualizer=None)
    return {**config, **changes}
