"""Our Mask2Former train pipeline with large-scale jitter (LSJ), and the recipe written with mmcv's transforms.

Flip, resize by 0.1 to 2.0 times 1024 pixels, crop 1024 x 1024, pad, pack with dense masks. mmcv's side has bitmaps of
the whole image from the first step on.
"""
from pathlib import Path

import mmcv
import numpy as np
import torch
from loading_mask_rcnn import read_records
from loading_recipe import LoadingRecipe, bitmap_of, seeded_items, smallest_overlap
from mmcv.transforms import Compose, LoadAnnotations, LoadImageFromFile, Pad, RandomFlip, RandomResize

from maskforge.registry import DATASETS

SIDE = 1024


class Bitmaps:
    """Draw the masks, and let them follow the flip and the resize."""

    def __call__(self, results: dict) -> dict:
        """Set ``gt_masks``, (N, H, W) uint8."""
        height, width = results['ori_shape']
        masks = [bitmap_of(polygons, height, width) for polygons in results['polygons']]
        masks = [mmcv.imflip(mask, results['flip_direction']) for mask in masks] if results.get('flip') else masks
        size = results['img_shape'][1::-1]
        results['gt_masks'] = np.stack([mmcv.imresize(mask, size, interpolation='nearest') for mask in masks])
        return results


class Crop:
    """Crop a random window, drop what it does not show, take boxes from the masks, pad the masks."""

    def __call__(self, results: dict) -> dict:
        """Set image, masks, boxes and labels of the window."""
        shape = results['img'].shape[:2]
        top, left = (np.random.randint(0, max(side - SIDE, 0) + 1) for side in shape)
        results['img'] = results['img'][top:top + SIDE, left:left + SIDE]
        masks = results['gt_masks'][:, top:top + SIDE, left:left + SIDE]
        seen = masks.any((1, 2))
        masks = masks[seen]
        results['gt_bboxes'] = np.array([box_of(mask) for mask in masks], np.float32).reshape(-1, 4)
        results['gt_bboxes_labels'] = results['gt_bboxes_labels'][seen]
        padded = np.zeros((len(masks), SIDE, SIDE), np.uint8)
        padded[:, :masks.shape[1], :masks.shape[2]] = masks
        results['gt_masks'], results['img_shape'] = padded, results['img'].shape[:2]
        return results


def box_of(mask: np.ndarray) -> list[int]:
    """The box around a mask's pixels, xyxy."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def pack(results: dict) -> dict:
    """Tensors, as MMDetection packs them."""
    return dict(inputs=torch.from_numpy(np.ascontiguousarray(results['img'].transpose(2, 0, 1))),
                boxes=torch.from_numpy(results['gt_bboxes']), masks=torch.from_numpy(results['gt_masks']),
                labels=torch.from_numpy(results['gt_bboxes_labels']))


def our_dataset(root: Path, *, flip: float, ratios: tuple[float, float]):
    """The recipe of ``configs/_base_/datasets/coco_instance_lsj.py`` over the drawn files."""
    pipeline = [
        dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=False),
        dict(type='RandomFlip', prob=flip),
        dict(type='RandomResize', scale=(SIDE, SIDE), ratio_range=ratios, keep_ratio=True),
        dict(type='RandomCrop', crop_type='absolute', crop_size=(SIDE, SIDE), recompute_bbox=True,
             allow_negative_crop=True),
        dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-5, 1e-5), by_mask=True, keep_empty=False),
        dict(type='Pad', size=(SIDE, SIDE), pad_val=dict(img=128)), dict(type='PackDetInputs', dense_masks=True)]
    dataset = DATASETS.build(dict(
        type='CocoDataset', data_root=str(root), ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'), filter_cfg=dict(filter_empty_gt=True), pipeline=pipeline))
    dataset.full_init()
    return dataset


def their_pipeline(*, flip: float, ratios: tuple[float, float]) -> Compose:
    """The same recipe in mmcv's transforms."""
    return Compose([LoadImageFromFile(), LoadAnnotations(with_bbox=True, with_label=True),
                    RandomFlip(prob=flip, direction='horizontal'),
                    RandomResize(scale=(SIDE, SIDE), ratio_range=ratios, resize_type='Resize', keep_ratio=True),
                    Bitmaps(), Crop(), Pad(size=(SIDE, SIDE), pad_val=dict(img=128)), pack])


def check(root: Path, records: list[dict]) -> str:
    """Compare the two at half the size, where the window is the whole image, flipped and not.

    Raises:
        RuntimeError: images, labels or masks differ.
    """
    worst = 1.0
    for flip in (0.0, 1.0):
        dataset = our_dataset(root, flip=flip, ratios=(0.5, 0.5))
        theirs = their_pipeline(flip=flip, ratios=(0.5, 0.5))
        for index, record in enumerate(records):
            mine, want = dataset[index], theirs({**record})
            truth = mine['data_samples'].gt_instances
            if not torch.equal(mine['inputs'], want['inputs']) or not torch.equal(truth.labels, want['labels']):
                raise RuntimeError(f'{record["img_path"]}: images or labels differ.')
            worst = min(worst, smallest_overlap(truth.masks.to_bitmaps(), want['masks'].numpy()))
    if worst < 0.8:
        raise RuntimeError(f'the masks differ: IoU {worst:.3f}')
    return f'images equal, masks IoU >= {worst:.2f} (at half the size, without a crop)'


def recipe(root: Path) -> LoadingRecipe:
    """Check and return the two sides."""
    records, settings = read_records(root / 'annotations' / 'instances_train.json', root / 'train'), dict(
        flip=0.5, ratios=(0.1, 2.0))
    note = check(root, records)
    dataset, theirs = our_dataset(root, **settings), their_pipeline(**settings)

    def run_theirs() -> None:
        np.random.seed(0)
        for record in records:
            theirs({**record})

    return LoadingRecipe(f'Mask2Former, LSJ to {SIDE}x{SIDE}', seeded_items(dataset, len(records)), run_theirs, 'mmcv',
                         len(records), note)
