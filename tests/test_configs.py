"""Every shipped config builds at toy size and runs one training and one test step."""
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from toy_configs import TOY_SIDE, num_classes_of, shrink

from maskforge.config import check_keys, lint_config, load_config
from maskforge.datasets import SyntheticShapesDataset
from maskforge.datasets.synthetic import draw_shapes
from maskforge.formats.palette_png import write_palette_png
from maskforge.layers.lora import build_model
from maskforge.registry import DATASETS, HOOKS, LOOPS, METRICS, PARAM_SCHEDULERS, VISUALIZERS

ROOT = Path(__file__).resolve().parents[1] / 'configs'
LEAVES = sorted(path for path in ROOT.rglob('*.py') if '_base_' not in path.parts)
# a config came or went: change the number, and the table of its folder's README.md
FOUND = {'balloon': 1, 'cityscapes': 1, 'deformable_detr': 10, 'faster_rcnn': 6, 'mal': 5,
         'mask2former': 18, 'mask_rcnn': 10, 'quickstart': 1, 'sam2': 9, 'voc': 1}
MASK2FORMER_FIELDS = dict(panoptic='pred_panoptic', instance='pred_instances', semantic='pred_sem_seg')


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny tensors: more threads would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_no_config_is_forgotten():
    assert Counter(path.parent.name for path in LEAVES) == FOUND
    assert all((path.parent / 'README.md').exists() for path in LEAVES)


def _draw(root: Path, classes: int) -> None:
    shapes = SyntheticShapesDataset(num_images=2, size=TOY_SIDE, pipeline=[])
    images, annotations = [], []
    for index in range(2):
        record = shapes.get_data_info(index)
        images.append(dict(id=index + 1, file_name=f'{index}.png', width=TOY_SIDE, height=TOY_SIDE))
        cv2.imwrite(str(root / f'{index}.png'), record['img'])
        for item in record['instances']:
            x0, y0, x1, y1 = map(float, item['bbox'])
            rle = dict(size=list(item['mask']['size']), counts=item['mask']['counts'].decode())
            annotations.append(dict(
                id=len(annotations) + 1, image_id=index + 1, category_id=item['bbox_label'] % classes + 1, iscrowd=0,
                bbox=[x0, y0, x1 - x0, y1 - y0], area=(x1 - x0) * (y1 - y0), segmentation=rle))
    categories = [dict(id=label + 1, name=f'class {label}') for label in range(classes)]
    content = dict(images=images, annotations=annotations, categories=categories)
    (root / 'annotations.json').write_text(json.dumps(content))


def _draw_scenes(root: Path, classes: int) -> None:
    """Panoptic and semantic data with as many classes as the model has, most of which do not occur."""
    folder = draw_shapes(root, num_train=2, num_val=2, size=TOY_SIDE, panoptic=True, semantic=True).root / 'annotations'
    for path in (*folder.glob('panoptic_*.json'), folder / 'semantic_classes.json'):
        content = json.loads(path.read_text())
        listed = content['categories'] if isinstance(content, dict) else content
        listed += [dict(id=number, name=f'class {number}', isthing=0) for number in range(len(listed) + 1, classes + 1)]
        path.write_text(json.dumps(content))


def _draw_videos(root: Path) -> None:
    """Two videos of four frames in which two squares move."""
    for video in ('one', 'two'):
        for folder in ('JPEGImages', 'Annotations'):
            (root / folder / video).mkdir(parents=True)
        for frame in range(4):
            ids = np.zeros((TOY_SIDE, TOY_SIDE), np.uint8)
            ids[10:40, 10 + 4 * frame:40 + 4 * frame] = 1
            ids[50 + 4 * frame:70 + 4 * frame, 40:80] = 2
            cv2.imwrite(str(root / 'JPEGImages' / video / f'{frame:05d}.jpg'), np.dstack([ids * 100] * 3))
            write_palette_png(ids, root / 'Annotations' / video / f'{frame:05d}.png')


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
    _draw(tmp_path, num_classes_of(cfg))
    if cfg.model.type == 'Mask2Former':
        _draw_scenes(tmp_path / 'scenes', num_classes_of(cfg))
    if cfg.model.type == 'SAM2':
        _draw_videos(tmp_path / 'videos')
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
