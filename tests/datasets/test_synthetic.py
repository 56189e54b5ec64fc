import json
import time

import cv2
import numpy as np
import pytest
from PIL import Image

from maskforge.datasets import CocoDataset, SyntheticShapesDataset
from maskforge.datasets.synthetic import draw_shapes
from maskforge.datasets.synthetic.shapes import OUTLINES
from maskforge.formats import CocoJson, rle
from maskforge.formats.panoptic_png import read_panoptic_png
from maskforge.registry import DATASETS


def test_records_depend_on_seed_and_index_alone():
    one, other = (DATASETS.build(dict(type='SyntheticShapesDataset', num_images=5, size=64)) for _ in range(2))
    first = one[3]
    one[1]
    again = other[3]
    assert (first['img'] == again['img']).all() and first['instances'] == again['instances']
    assert (SyntheticShapesDataset(num_images=5, size=64, seed=1)[3]['img'] != first['img']).any()
    assert first['img'].shape == (64, 64, 3) and first['img'].dtype == np.uint8
    assert first['img_shape'] == first['ori_shape'] == (64, 64)


def test_boxes_and_masks_are_exact_and_do_not_overlap():
    data = SyntheticShapesDataset(num_images=30, size=96, max_objects=8)
    seen = set()
    for index in range(len(data)):
        instances = data[index]['instances']
        masks = np.array([rle.decode(instance['mask']) for instance in instances])
        assert len(instances) and masks.any((1, 2)).all() and masks.sum(0).max() == 1
        for mask, instance in zip(masks, instances):
            rows, columns = np.nonzero(mask)
            assert instance['bbox'] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            seen.add(instance['bbox_label'])
    assert seen == set(range(len(OUTLINES)))


def test_some_shapes_are_concave():
    for name, points in OUTLINES.items():
        edges = np.roll(points, -1, 0) - points
        following = np.roll(edges, -1, 0)
        turns = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
        assert (turns.min() < 0) == (name in ('star', 'cross')), name
        assert np.linalg.norm(points, axis=1).max() <= 1 + 1e-9


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(num_images=0), 'num_images=0'), (dict(size=8), 'size=8'), (dict(max_objects=0), 'max_objects=0'),
    (dict(max_objects=300), 'at most 200'), (dict(metainfo=dict(classes=('cube',))), "'cube'"),
    (dict(filter_cfg=dict(min_size=500)), 'min_size=500')])
def test_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        SyntheticShapesDataset(**settings)


def test_classes_can_be_chosen():
    data = SyntheticShapesDataset(num_images=4, size=64, metainfo=dict(classes=('star', 'cross')))
    assert {label for i in range(4) for label in data.get_cat_ids(i)} <= {0, 1}
    assert data.metainfo['category_ids'] == (1, 2)


def test_drawing_is_fast():
    data = SyntheticShapesDataset(num_images=40)
    best = np.inf
    for _ in range(3):  # the best of three: other processes may use the cores
        start = time.perf_counter()
        for index in range(40):
            data[index]
        best = min(best, (time.perf_counter() - start) / 40)
    assert best < 0.01, f'{best * 1e3:.1f} ms a picture'


def test_coco_files(drawn):
    for split, count in (('train', 8), ('val', 3)):
        coco = CocoJson.load(drawn.annotations[split])
        assert len(coco) == count and not coco.defects and coco.category_ids.tolist() == [1, 2, 3, 4, 5]
        for image, annotations in coco:
            assert cv2.imread(str(drawn.images[split] / image['file_name'])).shape == (64, 64, 3)
            for record in annotations:
                mask = rle.from_polygons(record['segmentation'], 64, 64)
                assert rle.area(mask) == record['area']
                x, y, width, height = record['bbox']
                assert rle.box(mask) == [x, y, x + width, y + height]


def test_panoptic_and_semantic(drawn):
    panoptic = json.loads((drawn.root / 'annotations' / 'panoptic_train.json').read_text())
    categories = {record['id']: record for record in panoptic['categories']}
    coco = CocoJson.load(drawn.annotations['train'])
    for row, record in enumerate(panoptic['annotations']):
        ids = read_panoptic_png(drawn.panoptic['train'] / record['file_name'])
        assert {s['id']: s['area'] for s in record['segments_info']} == dict(zip(*np.unique(ids, return_counts=True)))
        things = [s for s in record['segments_info'] if categories[s['category_id']]['isthing']]
        assert [(s['category_id'], s['bbox'], s['area']) for s in things] == [
            (a['category_id'], a['bbox'], a['area']) for a in coco.annotations_of(row)]
        semantic = cv2.imread(str(drawn.semantic['train'] / record['file_name']), cv2.IMREAD_UNCHANGED)
        for segment in record['segments_info']:
            assert (semantic[ids == segment['id']] == segment['category_id']).all()


def test_clips(drawn):
    frames = sorted((drawn.clips / 'JPEGImages' / 'clip_000').iterdir())
    masks = [np.array(Image.open(path)) for path in sorted((drawn.clips / 'Annotations' / 'clip_000').iterdir())]
    assert len(frames) == len(masks) == 4 and masks[0].shape == (64, 64) and masks[0].max() >= 1
    assert (masks[0] != masks[3]).any()
    overlap = ((masks[0] == 1) & (masks[1] == 1)).sum() / (masks[0] == 1).sum()
    assert overlap > 0.3  # objects move smoothly and keep their numbers


def test_the_same_arguments_give_the_same_files(tmp_path):
    def draw(name):
        drawn = draw_shapes(tmp_path / name, num_train=2, num_val=1, size=32, segmentation='rle')
        return {path.relative_to(drawn.root): path.read_bytes() for path in drawn.root.rglob('*') if path.is_file()}
    assert draw('a') == draw('b')
    data = CocoDataset(ann_file=str(tmp_path / 'a/annotations/instances_train.json'))
    assert isinstance(data.get_data_info(0)['instances'][0]['mask'], dict)
    with pytest.raises(ValueError, match="segmentation='mask'"):
        draw_shapes(tmp_path, segmentation='mask')
