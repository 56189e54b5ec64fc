"""Drawn data on which shipped configs run at toy size; see :mod:`toy_configs`."""
import json
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from toy_configs import TOY_SIDE, num_classes_of

from maskforge.datasets import SyntheticShapesDataset
from maskforge.datasets.synthetic import draw_shapes
from maskforge.formats.palette_png import write_palette_png


def draw_data_for(cfg: Config, root: Path) -> None:
    """The files that the config's family reads, with as many categories as its model has."""
    _draw_pictures(root, num_classes_of(cfg))
    if cfg.model.type == 'Mask2Former':
        _draw_scenes(root / 'scenes', num_classes_of(cfg))
    if cfg.model.type == 'SAM2':
        _draw_videos(root / 'videos')


def _draw_pictures(root: Path, classes: int) -> None:
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
