"""A tiny Mask2Former over drawn shapes: data on disk and a whole config of every mode."""
from pathlib import Path
from typing import Any

from maskforge.datasets.synthetic import DrawnShapes, draw_shapes

MODEL: dict[str, Any] = dict(
    type='Mask2Former', num_classes=5, num_queries=10, hidden_dim=32, mask_dim=16, nheads=2, enc_layers=1,
    enc_feedforward=32, dec_layers=2, dim_feedforward=32, num_points=128, object_mask_threshold=0.3,
    backbone=dict(type='ResNet', depth=18, base_channels=8, norm_eval=False, zero_init_residual=False),
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                           bgr_to_rgb=True, pad_size_divisor=32, pad_mask=True))


def draw_all(root: Path, *, num_train: int = 6, num_val: int = 3) -> DrawnShapes:
    """Draw small pictures with annotations of all three kinds."""
    return draw_shapes(root, num_train=num_train, num_val=num_val, size=96, max_objects=3, panoptic=True,
                       semantic=True)
TRAIN = dict(
    instance=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True)],
    panoptic=[dict(type='LoadImageFromFile'), dict(type='LoadPanopticAnnotations')],
    semantic=[dict(type='LoadImageFromFile'),
              dict(type='LoadAnnotations', with_bbox=False, with_label=False, with_seg=True, reduce_zero_label=True)])


def tiny_mask2former_config(drawn: DrawnShapes, work_dir: Path | str, mode: str, *, model: dict | None = None,
                            batch_size: int = 2, **changes) -> dict:
    """A whole config for ``Runner.from_cfg``: two epochs on the CPU, seconds each.

    Args:
        mode: 'panoptic', 'instance' or 'semantic'; says which data is read, too.
        model: values that replace those of ``MODEL``.
        changes: values that replace those of the config's top level.
    """
    def loader(split: str, steps: list[dict], **more) -> dict:
        masks = [dict(type='SemSegToInstances')] if mode == 'semantic' and split == 'train' else []
        dataset = dict(_data(drawn, mode, split), pipeline=[*TRAIN[mode], *steps, *masks, dict(
            type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'seg_map_path'))])
        return dict(batch_size=batch_size, num_workers=0, collate_fn=dict(type='pseudo_collate'),
                    dataset={**dataset, **more})
    val = dict(loader('val', [], test_mode=True), sampler=dict(type='DefaultSampler', shuffle=False, round_up=False))
    classes = 5 if mode == 'instance' else 7
    config = dict(
        model={**MODEL, 'mode': mode, 'num_classes': classes, **(model or {})}, work_dir=str(work_dir),
        train_dataloader=dict(loader('train', [dict(type='RandomFlip', prob=0.5)]),
                              sampler=dict(type='DefaultSampler', shuffle=True)),
        train_cfg=dict(by_epoch=True, max_epochs=2, val_interval=1),
        val_dataloader=val, val_cfg=dict(type='ValLoop'), val_evaluator=_evaluator(drawn, mode),
        test_dataloader=val, test_cfg=dict(type='TestLoop'), test_evaluator=_evaluator(drawn, mode),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3), clip_grad=dict(max_norm=1.0)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=2, by_epoch=False),
                           logger=dict(type='LoggerHook', interval=1)),
        randomness=dict(seed=3), default_scope='maskforge', visualizer=None)
    return {**config, **changes}


def _data(drawn: DrawnShapes, mode: str, split: str) -> dict:
    images = dict(img=str(drawn.images[split]))
    folder = drawn.root / 'annotations'
    if mode == 'instance':
        return dict(type='CocoDataset', ann_file=str(drawn.annotations[split]), data_prefix=images)
    if mode == 'panoptic':
        return dict(type='CocoPanopticDataset', ann_file=str(folder / f'panoptic_{split}.json'),
                    data_prefix=dict(images, panoptic=str(drawn.panoptic[split])))
    return dict(type='SemanticJsonlDataset', data_root=str(drawn.root), ann_file=f'annotations/semantic_{split}.jsonl',
                label_map='annotations/semantic_classes.json')


def _evaluator(drawn: DrawnShapes, mode: str) -> dict:
    if mode == 'instance':
        return dict(type='CocoMetric', ann_file=str(drawn.annotations['val']), metric='segm')
    if mode == 'panoptic':
        return dict(type='CocoPanopticMetric', ann_file=str(drawn.root / 'annotations' / 'panoptic_val.json'),
                    seg_prefix=str(drawn.panoptic['val']))
    return dict(type='IoUMetric', reduce_zero_label=True)
