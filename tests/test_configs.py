"""Every shipped config builds at toy size and runs one training and one test step."""
from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from toy_configs import shrink
from toy_data import draw_data_for

from maskforge.config import check_keys, lint_config, load_config
from maskforge.layers.lora import build_model
from maskforge.registry import DATASETS, HOOKS, LOOPS, METRICS, PARAM_SCHEDULERS, VISUALIZERS

ROOT = Path(__file__).resolve().parents[1] / 'configs'
LEAVES = sorted(path for path in ROOT.rglob('*.py') if '_base_' not in path.parts)
# a config came or went: change the number, and the table of its folder's README.md
FOUND = {'balloon': 1, 'cityscapes': 1, 'deformable_detr': 10, 'faster_rcnn': 6, 'mal': 5,
         'mask2former': 18, 'mask_rcnn': 10, 'quickstart': 1, 'sam2': 9, 'voc': 1}
MASK2FORMER_FIELDS = dict(panoptic='pred_panoptic', instance='pred_instances', semantic='pred_sem_seg')


def test_no_config_is_forgotten():
    assert Counter(path.parent.name for path in LEAVES) == FOUND
    assert all((path.parent / 'README.md').exists() for path in LEAVES)


def _batch(cfg, name: str, places=range(2)):
    dataset = DATASETS.build(cfg[f'{name}_dataloader'].dataset)
    return pseudo_collate([dataset[index % len(dataset)] for index in places])


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_config_is_clean(path):
    cfg = load_config(path)
    assert [str(finding) for finding in [*check_keys(cfg), *lint_config(cfg)]] == []


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_config_trains_and_tests_one_step(path, tmp_path):
    torch.manual_seed(0)
    cfg = load_config(path)
    draw_data_for(cfg, tmp_path)
    shrink(cfg, tmp_path)
    model = build_model(cfg.model)
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    mixed = cfg.train_dataloader.get('batch_sampler', {}).get('batch_sizes') if cfg.model.type == 'SAM2' else None
    for places in [(0, 1), (-1, -2)] if mixed else [(0, 1)]:
        losses = model.train_step(_batch(cfg, 'train', places), optim_wrapper)
        assert all(value.isfinite() for value in losses.values()) and losses['loss'] > 0

    model.eval()
    with torch.no_grad():
        samples = model.val_step(_batch(cfg, 'val'))
    if cfg.model.type == 'SAM2':
        kind = 'pred_clicks' if cfg.val_evaluator.type == 'ClickMetric' else 'pred_masks'
        assert all(kind in sample for sample in samples)
        return
    # MAL's samples are boxes, the others' are images
    assert [sample.get('ann_id' if cfg.model.type == 'MAL' else 'img_id') for sample in samples] == [1, 2]
    if cfg.model.type == 'Mask2Former':
        modes = [cfg.model.mode] if isinstance(cfg.model.mode, str) else cfg.model.mode
        assert all((field in samples[0]) == (mode in modes) for mode, field in MASK2FORMER_FIELDS.items())
        return
    assert ('masks' in samples[0].pred_instances) == (cfg.model.type in ('MaskRCNN', 'MAL'))


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_every_named_part_exists(path):
    cfg = load_config(path)
    metrics = cfg.val_evaluator if isinstance(cfg.val_evaluator, list) else [cfg.val_evaluator]
    for registry, nodes in ((HOOKS, [*cfg.default_hooks.values(), *cfg.custom_hooks]),
                            (LOOPS, [cfg.train_cfg, cfg.val_cfg, cfg.test_cfg, cfg.export_cfg]),
                            (PARAM_SCHEDULERS, cfg.param_scheduler), (VISUALIZERS, [cfg.visualizer]),
                            (METRICS, metrics)):
        assert all(registry.get(node.type) for node in nodes)
