"""Our Mask R-CNN train pipeline, and MMDetection's recipe written with mmcv's transforms alone.

Load image and annotations, resize to 1333 x 800, flip, pack. MMDetection's recipe has bitmaps of the whole image from
the first step on; ours keeps polygons until the mask targets need pixels, which is part of what is compared (the
model's step pays for the rest: mask_rcnn_step.py).
"""
import json
from collections import defaultdict
from pathlib import Path

import mmcv
import numpy as np
import torch
from loading_recipe import LoadingRecipe, bitmap_of, seeded_items, smallest_overlap
from mmcv.transforms import Compose, LoadAnnotations, LoadImageFromFile, RandomFlip, Resize

from maskforge.registry import DATASETS

SCALE = (1333, 800)


class Bitmaps:
    """The part that mmcv has no transform for: masks as bitmaps, resized and flipped like the image (its functions)."""

    def __call__(self, results: dict) -> dict:
        """Rasterise the polygons, follow the resize and the flip."""
        height, width = results['ori_shape']
        new_height, new_width = results['img_shape'][:2]
        masks = []
        for polygons in results['polygons']:
            mask = mmcv.imresize(bitmap_of(polygons, height, width), (new_width, new_height), interpolation='nearest')
            masks.append(mmcv.imflip(mask, results['flip_direction']) if results.get('flip') else mask)
        results['gt_masks'] = np.stack(masks) if masks else np.zeros((0, new_height, new_width), np.uint8)
        return results


def pack(results: dict) -> dict:
    """Tensors, as MMDetection packs them."""
    image = torch.from_numpy(np.ascontiguousarray(results['img'].transpose(2, 0, 1)))
    return dict(inputs=image, boxes=torch.from_numpy(results['gt_bboxes']), masks=results['gt_masks'],
                labels=torch.from_numpy(results['gt_bboxes_labels']))


def read_records(path: Path, folder: Path) -> list[dict]:
    """The COCO file as MMDetection's data set hands it to the pipeline."""
    data = json.loads(path.read_text())
    by_image = defaultdict(list)
    for annotation in data['annotations']:
        by_image[annotation['image_id']].append(annotation)
    records = []
    for image in data['images']:
        annotations = by_image[image['id']]
        instances = [dict(bbox=[a['bbox'][0], a['bbox'][1], a['bbox'][0] + a['bbox'][2], a['bbox'][1] + a['bbox'][3]],
                          bbox_label=a['category_id'] - 1, ignore_flag=0) for a in annotations]
        records.append(dict(img_path=str(folder / image['file_name']), instances=instances,
                            polygons=[a['segmentation'] for a in annotations]))
    return [record for record in records if record['instances']]


def our_dataset(root: Path, flip: float):
    """Our recipe over the drawn files."""
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
                dict(type='Resize', scale=SCALE, keep_ratio=True), dict(type='RandomFlip', prob=flip),
                dict(type='PackDetInputs')]
    dataset = DATASETS.build(dict(
        type='CocoDataset', data_root=str(root), ann_file='annotations/instances_train.json',
        data_prefix=dict(img='train/'), filter_cfg=dict(filter_empty_gt=True), pipeline=pipeline))
    dataset.full_init()
    return dataset


def their_pipeline(flip: float) -> Compose:
    """The same recipe in mmcv's transforms."""
    return Compose([LoadImageFromFile(), LoadAnnotations(with_bbox=True, with_label=True),
                    Resize(scale=SCALE, keep_ratio=True), RandomFlip(prob=flip, direction='horizontal'), Bitmaps(),
                    pack])


def check(root: Path, records: list[dict]) -> str:
    """Compare the two on all records, flipped and not.

    Raises:
        RuntimeError: images, boxes or masks differ.
    """
    worst = 1.0
    for flip in (0.0, 1.0):
        dataset, theirs = our_dataset(root, flip), their_pipeline(flip)
        for index, record in enumerate(records):
            mine, want = dataset[index], theirs({**record})
            truth = mine['data_samples'].gt_instances
            if not torch.equal(mine['inputs'], want['inputs']):
                raise RuntimeError(f'{record["img_path"]}: the images differ.')
            if (truth.bboxes - want['boxes']).abs().max() > 1e-3:
                raise RuntimeError(f'{record["img_path"]}: the boxes differ.')
            worst = min(worst, smallest_overlap(truth.masks.to_bitmaps(), want['masks']))
    if worst < 0.8:
        raise RuntimeError(f'the masks differ: IoU {worst:.3f}')
    return f'images equal, boxes within 1e-3, masks IoU >= {worst:.2f}'


def recipe(root: Path) -> LoadingRecipe:
    """Check and return the two sides."""
    records = read_records(root / 'annotations' / 'instances_train.json', root / 'train')
    note = check(root, records)
    dataset, theirs = our_dataset(root, 0.5), their_pipeline(0.5)
    return LoadingRecipe(f'Mask R-CNN, to {SCALE}', seeded_items(dataset, len(records)),
                         lambda: [theirs({**record}) for record in records], 'mmcv', len(records), note)
