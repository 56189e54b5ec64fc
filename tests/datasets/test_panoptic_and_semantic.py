import json
import os

import numpy as np
import pytest
from mmengine.dataset import pseudo_collate

from maskforge.datasets import CocoPanopticDataset, SemanticJsonlDataset
from maskforge.datasets.synthetic import draw_shapes
from maskforge.formats.panoptic_json import write_panoptic_json
from maskforge.formats.panoptic_png import write_panoptic_png, write_png
from maskforge.formats.segmentation_jsonl import write_segmentation_jsonl

SEGMENTS = np.array([[70, 70, 5, 5], [70, 0, 5, 600], [70, 70, 600, 600]])
CATEGORIES = [dict(id=9, name='sky', isthing=0, color=[1, 2, 3]), dict(id=2, name='dog'), dict(id=4, name='cat')]


@pytest.fixture
def panoptic(tmp_path):
    """A dog (70), a sky (5), a crowd of cats (600), and an image without annotation; builds the data set."""
    write_panoptic_png(SEGMENTS, tmp_path / 'png' / 'a.png')
    write_png(np.zeros((3, 4, 3), np.uint8), tmp_path / 'img' / 'a.jpg')
    infos = [dict(id=70, category_id=2), dict(id=5, category_id=9), dict(id=600, category_id=4, iscrowd=1)]
    write_panoptic_json(
        tmp_path / 'p.json', categories=CATEGORIES,
        images=[dict(id=i, file_name=f'{name}.jpg', height=3, width=4) for i, name in ((1, 'a'), (2, 'b'))],
        annotations=[dict(image_id=1, file_name='a.png', segments_info=infos)])

    def build(**settings):
        return CocoPanopticDataset(**{**dict(ann_file='p.json', data_root=str(tmp_path),
                                             data_prefix=dict(img='img', panoptic='png')), **settings})
    return build


PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LoadPanopticAnnotations', with_seg=True),
            dict(type='PackDetInputs')]


def test_panoptic_sample(panoptic):
    data = panoptic(pipeline=PIPELINE)
    assert data.metainfo['classes'] == ('dog', 'cat', 'sky') and data.metainfo['category_ids'] == (2, 4, 9)
    assert data.metainfo['is_thing'] == (True, True, False) and data.metainfo['palette'][2] == (1, 2, 3)
    sample = data[0]['data_samples']
    assert sample.gt_instances.labels.tolist() == [0, 2]
    np.testing.assert_array_equal(sample.gt_instances.masks.to_bitmaps(), [SEGMENTS == 70, SEGMENTS == 5])
    assert sample.gt_instances.bboxes.tolist() == [[0, 0, 2, 3], [2, 0, 4, 2]]
    assert sample.ignored_instances.labels.tolist() == [1]
    assert sample.gt_sem_seg.sem_seg[0].tolist() == [[0, 0, 2, 2], [0, 255, 2, 255], [0, 0, 255, 255]]


def test_image_without_annotation_and_resize_before_loading(panoptic):
    data = panoptic(pipeline=[PIPELINE[0], dict(type='Resize', scale=(8, 6)), *PIPELINE[1:]])
    assert data.get_data_info(1)['panoptic_path'] is None
    sample = data[0]['data_samples']
    np.testing.assert_array_equal(sample.gt_instances.masks.to_bitmaps()[0],
                                  np.kron(SEGMENTS == 70, np.ones((2, 2), bool)))
    assert sample.gt_sem_seg.sem_seg.shape == (1, 6, 8)


def test_labels_by_category_id(panoptic):
    data = panoptic(label_mode='category_id')
    assert [item['bbox_label'] for item in data.get_data_info(0)['instances']] == [2, 9, 4]
    assert len(data.metainfo['classes']) == 10 and data.metainfo['is_thing'][9] is False


def test_labels_by_category_id_from_1(panoptic):
    """The rows of TAO's head without contiguous ids, once "no object" is last."""
    data = panoptic(label_mode='category_id_from_1')
    assert [item['bbox_label'] for item in data.get_data_info(0)['instances']] == [1, 8, 3]
    assert data.metainfo['category_ids'] == tuple(range(1, 10)) and data.metainfo['is_thing'][8] is False
    assert len(panoptic(label_mode='category_id_from_1', num_classes=200).metainfo['classes']) == 200


def test_selected_classes_ignore_the_others(panoptic):
    data = panoptic(metainfo=dict(classes=('sky',)))
    assert [item['ignore_flag'] for item in data.get_data_info(0)['instances']] == [1, 0, 1]


def label_map(path, *entries):
    path.write_text(json.dumps(list(entries)))
    return path.name


def test_label_map_gives_order_colours_and_things(panoptic, tmp_path):
    name = label_map(tmp_path / 'map.json', dict(id=9, name='sky', color=[7, 7, 7], isthing=0),
                     dict(id=2, name='dog', isthing=0), dict(id=4, name='cat'), dict(id=50, name='not here'))
    data = panoptic(label_map=name)
    assert data.metainfo['classes'] == ('sky', 'dog', 'cat') and data.metainfo['is_thing'] == (False, False, True)
    assert data.metainfo['palette'][0] == (7, 7, 7)


@pytest.mark.parametrize('entries, message', [
    ([dict(id=9, name='sky'), dict(id=2, name='dog')], "lacks the class 'cat'"),
    ([dict(id=8, name='sky'), dict(id=2, name='dog'), dict(id=4, name='cat')], "gives 'sky' the id 8"),
    ([dict(id=0, name='sky')], 'ids are whole numbers from 1'),
    ([dict(id=1, name='sky'), dict(id=1, name='dog')], 'the id 1 occurs twice'),
    ([dict(id=1)], 'needs "id" and "name"'),
    ([dict(id=1, name='a', color=[1, 2])], 'three numbers from 0 to 255'),
    ([dict(id=1, name='a', isthing=3)], '"isthing" is 3'),
    ([], 'at least one'),
])
def test_bad_label_maps(panoptic, tmp_path, entries, message):
    with pytest.raises(ValueError, match=message):
        panoptic(label_map=label_map(tmp_path / 'map.json', *entries))


def test_png_of_another_size_is_named(panoptic, tmp_path):
    data = panoptic(pipeline=PIPELINE, test_mode=True)
    write_panoptic_png(SEGMENTS[:2], tmp_path / 'png' / 'a.png')
    with pytest.raises(ValueError, match=r'a.png is 4 x 2 pixels, its image 4 x 3'):
        data[0]


SEMANTIC = [dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=False, with_label=False, with_seg=True, reduce_zero_label=True),
            dict(type='RandomCrop', crop_size=(4, 2)), dict(type='SemSegToInstances'), dict(type='PackDetInputs')]


@pytest.fixture
def semantic(tmp_path):
    write_png(np.zeros((3, 4, 3), np.uint8), tmp_path / 'a.png')
    write_png(np.array([[0, 1, 1, 3]] * 3, np.uint8), tmp_path / 'a_map.png')
    write_segmentation_jsonl(tmp_path / 'list.jsonl', [('a.png', 'a_map.png')])

    def build(**settings):
        settings = settings if 'label_map' in settings else {'metainfo': dict(classes=('x', 'y', 'z')), **settings}
        return SemanticJsonlDataset(ann_file='list.jsonl', data_root=str(tmp_path), **settings)
    return build


def test_semantic_sample(semantic):
    data = semantic(pipeline=SEMANTIC)
    assert data.metainfo['category_ids'] == (1, 2, 3) and data.image_sizes().tolist() == [[3, 4]]
    sample = data[0]['data_samples']
    assert sample.gt_instances.labels.tolist() == [0, 2]
    assert sample.gt_instances.masks.to_bitmaps().tolist() == [[[False, True, True, False]] * 2,
                                                               [[False, False, False, True]] * 2]


def test_semantic_label_map(semantic, tmp_path):
    name = label_map(tmp_path / 'map.json', dict(id=2, name='b', isthing=0), dict(id=1, name='a', color=[5, 5, 5]))
    data = semantic(label_map=name)
    assert data.metainfo['classes'] == ('a', 'b') and data.metainfo['is_thing'] == (True, False)
    with pytest.raises(ValueError, match=r'need the ids 1 .. 1, got \[2\]'):
        semantic(label_map=label_map(tmp_path / 'map.json', dict(id=2, name='b')))


@pytest.mark.parametrize('line, error, message', [
    ('{"img": "a.png"}', ValueError, 'line 1 has no path of a mask under "segm"'),
    ('{"img": "a.png", "segm": ', ValueError, 'line 1 is not valid JSON'),
    ('{"img": "a.png", "segm": "b_map.png"}', FileNotFoundError, 'b_map.png does not exist; did you mean a_map.png'),
    ('{"img": "a.png", "segm": "small.png"}', ValueError, 'small.png is 2 x 2 pixels, its image 4 x 3'),
    ('\n', ValueError, 'lists no image'),
])
def test_bad_lines(semantic, tmp_path, line, error, message):
    write_png(np.zeros((2, 2), np.uint8), tmp_path / 'small.png')
    (tmp_path / 'list.jsonl').write_text(line)
    with pytest.raises(error, match=message):
        semantic()


def test_classes_are_needed(semantic):
    with pytest.raises(ValueError, match='give the data set label_map'):
        semantic(metainfo={})


def test_drawn_shapes_load(tmp_path):
    drawn = draw_shapes(tmp_path, num_train=2, num_val=1, size=64, panoptic=True, semantic=True)
    data = CocoPanopticDataset(ann_file=str(tmp_path / 'annotations' / 'panoptic_train.json'), pipeline=PIPELINE,
                               data_prefix=dict(img=str(drawn.images['train']), panoptic=str(drawn.panoptic['train'])))
    batch = pseudo_collate([data[0], data[1]])
    for sample in batch['data_samples']:
        assert sample.gt_instances.masks.to_bitmaps().sum(0).max() == 1
        assert (sample.gt_sem_seg.sem_seg != 255).all()
    assert data.metainfo['is_thing'] == (True,) * 5 + (False,) * 2


@pytest.mark.skipif('MASKFORGE_TEST_DATA' not in os.environ, reason='MASKFORGE_TEST_DATA names a folder of real data')
def test_real_panoptic_sample():
    root = f'{os.environ["MASKFORGE_TEST_DATA"]}/coco_panoptic_sample'
    data = CocoPanopticDataset(ann_file='panoptic.json', data_root=root, data_prefix=dict(img='images'),
                               pipeline=PIPELINE)
    sample = data[0]['data_samples']
    assert len(data.metainfo['classes']) == 133 and sum(data.metainfo['is_thing']) == 80
    assert len(sample.gt_instances) == 17 and len(sample.ignored_instances) == 1
