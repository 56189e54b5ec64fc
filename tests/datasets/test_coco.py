import json
import os
import pickle

import numpy as np
import pytest

from maskforge.datasets import CityscapesDataset, CocoDataset
from maskforge.registry import DATASETS
from maskforge.structures import seeded_sample


def _coco():
    images = [dict(id=i, file_name=f'{i}.jpg', height=20 + 20 * (i % 2), width=30) for i in (4, 0, 9)]
    boxes = [dict(bbox=[1, 2, 10, 8], segmentation=[[1, 2, 11, 2, 11, 10]]), dict(bbox=[25, 5, 9, 4], iscrowd=1),
             dict(bbox=[0, 0, 0.5, 9]), dict(bbox=[3, 3, 5, 5], ignore=1), dict(bbox=[2, 2, 4, 4])]
    annotations = [dict(id=i, image_id=[4, 4, 4, 4, 0][i], category_id=[7, 2, 2, 2, 0][i], **box)
                   for i, box in enumerate(boxes)]
    names = {7: 'zebra', 0: 'ant', 2: 'mole'}
    return dict(images=images, annotations=annotations, categories=[dict(id=i, name=n) for i, n in names.items()])


@pytest.fixture
def make(tmp_path):
    """Build the small data set; ``coco`` replaces its JSON."""
    def _make(coco=None, cls=CocoDataset, **settings):
        (tmp_path / 'ann.json').write_text(json.dumps(coco or _coco()))
        return cls(**{**dict(ann_file='ann.json', data_root=str(tmp_path), data_prefix=dict(img='images')), **settings})
    return _make


def test_records(make, tmp_path):
    data = make()
    assert data.metainfo['classes'] == ('ant', 'mole', 'zebra') and data.metainfo['category_ids'] == (0, 2, 7)
    assert len(data) == 3 and len(data.metainfo['palette']) == 3
    record = data.get_data_info(0)
    assert record['img_path'] == os.path.join(str(tmp_path), 'images', '4.jpg')
    assert (record['img_id'], record['height'], record['width']) == (4, 20, 30)
    polygon, crowd = record['instances']  # the tiny and the ignored one are left out
    assert (polygon['bbox'], polygon['bbox_label'], polygon['ignore_flag']) == ([1, 2, 11, 10], 2, 0)
    assert polygon['mask'][0].dtype == np.float32
    assert crowd['bbox'] == [25, 5, 30, 9] and crowd['ignore_flag'] == 1 and 'mask' not in crowd
    assert data.get_cat_ids(0) == [2] and data.get_cat_ids(2) == []
    assert data.image_sizes().tolist() == [[20, 30], [20, 30], [40, 30]]
    assert isinstance(DATASETS.get('CocoDataset'), type)


@pytest.mark.parametrize('serialize_data', [True, False])
def test_classes_can_be_selected_and_reordered(make, serialize_data):
    data = make(metainfo=dict(classes=('zebra', 'ant'), palette=[(1, 2, 3), (4, 5, 6)]), serialize_data=serialize_data)
    assert data.metainfo['category_ids'] == (7, 0) and data.metainfo['palette'] == [(1, 2, 3), (4, 5, 6)]
    assert [i['bbox_label'] for i in data[0]['instances']] == [0] and data.get_cat_ids(1) == [1]
    assert data.image_sizes().tolist() == [[20, 30], [20, 30], [40, 30]]


@pytest.mark.parametrize(('classes', 'message'), [
    (('Zebra',), "asks for 'Zebra', which .*ann.json does not have; did you mean 'zebra'"),
    (('bird',), "it has 3 classes: 'ant', 'mole', 'zebra'"),
    ('zebra', r"the string 'zebra'.*classes=\('zebra',\)"),
    ((), 'at least one name'), (('ant', 'ant'), 'ant twice')])
def test_wrong_classes(classes, message, make):
    with pytest.raises(ValueError, match=message):
        make(metainfo=dict(classes=classes))


def test_classes_of_a_subclass_and_from_a_file(make, tmp_path):
    class Mine(CocoDataset):
        METAINFO = dict(classes=('mole',))

    assert make(cls=Mine).metainfo['category_ids'] == (2,)
    (tmp_path / 'names.txt').write_text('ant\nzebra\n')
    assert make(metainfo=dict(classes=str(tmp_path / 'names.txt'))).metainfo['classes'] == ('ant', 'zebra')
    with pytest.raises(ValueError, match="'person', 'rider'"):
        make(cls=CityscapesDataset)


@pytest.mark.parametrize(('filter_cfg', 'count'), [
    (None, 3), (dict(filter_empty_gt=True), 2), (dict(min_size=25), 1), (dict(filter_empty_gt=True, min_size=20), 2)])
def test_filters(filter_cfg, count, make):
    assert len(make(filter_cfg=filter_cfg)) == count
    assert len(make(filter_cfg=filter_cfg, test_mode=True)) == 3


def test_crowds_alone_do_not_fill_an_image(make):
    assert len(make(filter_cfg=dict(filter_empty_gt=True), metainfo=dict(classes=('mole', 'ant')))) == 1


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(filter_cfg=dict(min_size=99)), 'keeps 0 of 3 images; 3 are smaller than min_size=99'),
    (dict(filter_cfg=dict(filter_empty=True)), "unknown key 'filter_empty': did you mean filter_empty_gt"),
    (dict(data_prefix=dict(imgs='x')), "unknown key 'imgs': did you mean img"),
    (dict(on_error='ignore'), "on_error='ignore': allowed are skip, raise"),
    (dict(on_error='skip', test_mode=True), 'allowed are raise in test mode'),
    (dict(on_defect='list'), "on_defect='list'"),
    (dict(coco=dict(_coco(), images=[], annotations=[])), 'has no images'),
    (dict(coco=dict(_coco(), categories=[], annotations=[])), "'categories' is empty")])
def test_wrong_settings(settings, message, make):
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_records_that_cannot_be_used(make):
    coco = _coco()
    coco['annotations'][0]['bbox'] = [50, 2, 10, 8]
    with pytest.raises(ValueError, match='lies outside'):
        make(coco=coco)
    assert len(make(coco=coco, on_defect='skip').get_data_info(0)['instances']) == 1


def test_subsets_and_lazy_init(make):
    data = make(indices=[2, 0])
    assert [data.get_data_info(i)['img_id'] for i in range(2)] == [9, 4]
    assert data.image_sizes().tolist() == [[40, 30], [20, 30]]
    assert data.get_subset([0]).image_sizes().tolist() == [[40, 30]]
    data.get_subset_(1)
    assert data.image_sizes().tolist() == [[40, 30]]
    lazy = make(lazy_init=True)
    assert not lazy._fully_initialized and lazy.image_sizes().shape == (3, 2)


def test_semantic_maps_have_the_images_names(make, tmp_path):
    data = make(data_prefix=dict(img='images', seg='maps'), seg_map_suffix='_x.png')
    assert data.get_data_info(0)['seg_map_path'] == str(tmp_path / 'maps' / '4_x.png')


def test_unlabelled_test_images(make):
    coco = _coco()
    del coco['annotations']
    assert len(make(coco=coco, test_mode=True)) == 3
    with pytest.raises(ValueError, match="no 'annotations'"):
        make(coco=coco)


class _Fail:
    """Fails for the images of the given ids."""

    def __init__(self, *ids, error=OSError):
        self.ids, self.error = ids, error

    def __call__(self, results):
        if results['img_id'] in self.ids:
            raise self.error(f'cannot decode {results["img_id"]}')
        return results


def test_broken_images_are_reported_once_and_replaced(make, caplog, monkeypatch):
    lines = []
    monkeypatch.setattr('maskforge.datasets.record_faults.print_log', lambda text, *_: lines.append(text))
    data = make(pipeline=[_Fail(4)])
    with seeded_sample(3):
        first = data[0]['img_id']
    with seeded_sample(3):
        assert data[0]['img_id'] == first != 4
    assert data.broken_records() == [0] and len(lines) == 1
    assert '4.jpg is skipped (1 broken records so far)' in lines[0] and 'cannot decode 4' in lines[0]


@pytest.mark.parametrize('settings', [dict(on_error='raise'), dict(test_mode=True)])
def test_broken_images_can_end_the_run(settings, make):
    with pytest.raises((ValueError, OSError), match=r'4\.jpg.*cannot decode 4'):
        make(pipeline=[_Fail(4)], **settings)[0]


def test_a_wrong_folder_ends_the_run(make):
    with pytest.raises(ValueError, match=r'10 records in a row.*data_prefix'):
        make(pipeline=[_Fail(4, 0, 9)])[0]


def test_mistakes_in_the_program_pass_through(make):
    with pytest.raises(TypeError, match='cannot decode 4'):
        make(pipeline=[_Fail(4, error=TypeError)])[0]


def test_pipelines_that_give_none(make):
    assert make(pipeline=[lambda results: results if results['img_id'] == 9 else None])[0]['img_id'] == 9
    with pytest.raises(ValueError, match='returned None 3 times in a row'):
        make(pipeline=[lambda results: None], max_refetch=2)[0]
    with pytest.raises(ValueError, match='test pipeline returned None'):
        make(pipeline=[lambda results: None], test_mode=True)[0]
    with pytest.raises(TypeError, match='transform'):
        make(pipeline=['LoadImageFromFile'])


def test_survives_pickling(make):
    data = pickle.loads(pickle.dumps(make()))
    assert data[1]['img_id'] == 0


def test_real_pixels(drawn):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
    data = CocoDataset(ann_file=str(drawn.annotations['train']), data_prefix=dict(img=str(drawn.images['train'])),
                       pipeline=pipeline)
    sample = data[0]
    assert sample['img'].shape == (64, 64, 3)
    assert np.allclose(sample['gt_masks'].bboxes(), sample['gt_bboxes'])
