"""A small data set with every kind of annotation, and predictions for it."""
import json

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from maskforge.formats import rle
from maskforge.structures import DetDataSample, InstanceMasks

CATEGORIES = [dict(id=0, name='ball'), dict(id=7, name='box'), dict(id=3, name='cone')]
NAMES = ('ball', 'box', 'cone')
IDS = (0, 7, 3)
HEIGHT, WIDTH = 90, 120


def rectangle(x, y, width, height):
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def coco_dict(images=4, objects=4, seed=0):
    """Annotation ids from 0, category ids with gaps, a crowd region, an image without annotations."""
    rng = np.random.default_rng(seed)
    annotations = []
    for image in range(images - 1):
        for _ in range(objects):
            x, y = (int(v) for v in rng.integers(0, 60, 2))
            width, height = (int(v) for v in rng.integers(8, 28, 2))
            annotations.append(dict(
                id=len(annotations), image_id=image * 5, category_id=int(rng.choice(IDS)), bbox=[x, y, width, height],
                area=width * height, iscrowd=0, segmentation=rectangle(x, y, width, height)))
    crowd = np.zeros((HEIGHT, WIDTH), bool)
    crowd[60:85, 80:118] = True
    annotations.append(dict(id=len(annotations), image_id=0, category_id=7, bbox=[80, 60, 38, 25], area=950, iscrowd=1,
                            segmentation=rle.to_json(rle.encode(crowd))))
    return dict(images=[dict(id=i * 5, file_name=f'{i}.jpg', height=HEIGHT, width=WIDTH) for i in range(images)],
                annotations=annotations, categories=CATEGORIES)


@pytest.fixture
def data():
    return coco_dict()


@pytest.fixture
def ann_file(tmp_path, data):
    path = tmp_path / 'instances.json'
    path.write_text(json.dumps(data))
    return path


@pytest.fixture
def meta():
    return dict(classes=NAMES, category_ids=IDS)


def sample(image, boxes, labels, scores, masks=None, **meta):
    """A predicted data sample in dict form, as the evaluator hands it to metrics."""
    predicted = InstanceData(bboxes=torch.tensor(np.array(boxes, np.float32).reshape(-1, 4)),
                             labels=torch.tensor(labels, dtype=torch.int64),
                             scores=torch.tensor(scores, dtype=torch.float32))
    if masks is not None:
        predicted.masks = InstanceMasks(masks, HEIGHT, WIDTH)
    found = DetDataSample(metainfo=dict(img_id=image['id'], img_path=image['file_name'], ori_shape=(HEIGHT, WIDTH),
                                        scale_factor=(1.0, 1.0), **meta))
    found.pred_instances = predicted
    return found


def predictions(data, jitter=0.0, extra=0, seed=1):
    """Predictions near the truth (crowds left out), with scores; ``extra`` random ones per image."""
    rng = np.random.default_rng(seed)
    found = []
    for image in data['images']:
        rows = [a for a in data['annotations'] if a['image_id'] == image['id'] and not a['iscrowd']]
        boxes, labels = [], []
        for row in rows:
            x, y, width, height = np.array(row['bbox']) + jitter * rng.normal(size=4) * np.tile(row['bbox'][2:], 2)
            boxes.append([x, y, x + max(width, 2), y + max(height, 2)])
            labels.append(IDS.index(row['category_id']))
        for _ in range(extra):
            x, y = rng.integers(0, 60, 2)
            boxes.append([x, y, x + 20, y + 20])
            labels.append(int(rng.integers(0, 3)))
        masks = [rectangle(b[0], b[1], b[2] - b[0], b[3] - b[1]) for b in boxes]
        found.append(sample(image, boxes, labels, rng.uniform(0.1, 1, len(boxes)).round(2), masks))
    return found


@pytest.fixture
def perfect(data):
    return predictions(data)


@pytest.fixture
def noisy(data):
    return predictions(data, jitter=0.15, extra=3)


@pytest.fixture
def with_truth(data):
    """Add the truth in the frame of an image resized by (1.5, 2), padded, with RLE and polygons mixed."""
    def add(samples):
        for one, image in zip(samples, data['images']):
            one.set_metainfo(dict(scale_factor=(1.5, 2.0)))
            for name, crowd in (('gt_instances', 0), ('ignored_instances', 1)):
                rows = [a for a in data['annotations'] if a['image_id'] == image['id'] and a['iscrowd'] == crowd]
                boxes = np.array([a['bbox'] for a in rows], np.float32).reshape(-1, 4)
                boxes[:, 2:] += boxes[:, :2]
                truth = InstanceData(
                    bboxes=torch.tensor(boxes * np.array([1.5, 2, 1.5, 2], np.float32)),
                    labels=torch.tensor([IDS.index(a['category_id']) for a in rows], dtype=torch.int64))
                truth.masks = InstanceMasks([a['segmentation'] for a in rows], HEIGHT, WIDTH).resize(
                    (HEIGHT * 2, WIDTH * 3 // 2)).pad((HEIGHT * 2 + 32, WIDTH * 3 // 2 + 12))
                one.set_field(truth, name, dtype=InstanceData)
        return samples
    return add


@pytest.fixture
def run():
    """Feed samples to a metric in batches of two and evaluate."""
    def evaluate(metric, samples, meta, size=None):
        metric.dataset_meta = meta
        for start in range(0, len(samples), 2):
            metric.process(None, [one.to_dict() for one in samples[start:start + 2]])
        return metric.evaluate(len(samples) if size is None else size)
    return evaluate
