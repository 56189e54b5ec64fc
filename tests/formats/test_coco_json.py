import copy
import json
import math

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval

from maskforge.formats import CocoJson, rle, write_coco_json


def test_columns(coco, write):
    data = CocoJson.load(write(coco))
    assert len(data) == 2 and data.category_names == ['cat', 'dog'] and data.category_ids.tolist() == [0, 5]
    assert data.image(1) == dict(id=7, file_name='b.jpg', height=8, width=6)
    first, boxed = data.annotations_of(0)
    assert (first['id'], first['category_id'], first['bbox'], first['area']) == (0, 5, [2, 2, 4, 3], 12)
    assert first['segmentation'][0].tolist() == coco['annotations'][0]['segmentation'][0]
    assert 'segmentation' not in boxed and boxed['area'] == 4
    crowd = data.annotations_of(1)[0]
    assert crowd['iscrowd'] == 1 and isinstance(crowd['segmentation']['counts'], bytes)
    assert rle.decode(crowd['segmentation'])[:, 0].all() and rle.area(crowd['segmentation']) == 8
    assert [image['id'] for image, _ in data] == [0, 7]


def test_missing_area_is_that_of_the_mask(coco, write):
    del coco['annotations'][0]['area']
    assert CocoJson.load(write(coco)).annotation(0)['area'] == 12


def test_ids_from_zero_are_renumbered_and_perfect_predictions_score_one(coco, write):
    truth = CocoJson.load(write(coco)).to_pycocotools()
    assert sorted(truth.anns) == [1, 2, 3]
    results = [dict(image_id=a['image_id'], category_id=a['category_id'], bbox=a['bbox'], score=0.9)
               for a in coco['annotations'] if not a.get('iscrowd')]
    evaluation = COCOeval(truth, truth.loadRes(results), 'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)


def test_dict_round_trip(coco, write, tmp_path):
    data = CocoJson.load(write(coco)).to_dict()
    write_coco_json(tmp_path / 'deep' / 'again.json', **data)
    again = CocoJson.load(tmp_path / 'deep' / 'again.json')
    assert again.to_dict() == data
    assert json.loads((tmp_path / 'deep' / 'again.json').read_text())['categories'] == data['categories']


def _change(path, value):
    def apply(data):
        *steps, last = path
        for step in steps:
            data = data[step]
        if value is KeyError:
            del data[last]
        else:
            data[last] = value
    return apply


A = 'annotations'
BAD = [
    ('no list', ('categories',), KeyError, "has no 'categories'"),
    ('list is object', (A,), {}, "'annotations' is a dict"),
    ('missing key of image', ('images', 0, 'height'), KeyError, r"images\[0\]: has no 'height'"),
    ('string id', ('images', 0, 'id'), '0', r"images\[0\]: has id='0'; an integer is needed"),
    ('image without size', ('images', 0, 'width'), 0, 'a.jpg'),
    ('two images, one id', ('images', 1, 'id'), 0, 'image id 0: is used 2 times'),
    ('two annotations, one id', (A, 1, 'id'), 0, 'annotation id 0: is used 2 times'),
    ('two categories, one name', ('categories', 1, 'name'), 'dog', "category 'dog': has this name under two ids"),
    ('unknown category', (A, 0, 'category_id'), 4, r'annotation 0 \(annotations\[0\]\): category_id 4 is not among'),
    ('unknown image', (A, 2, 'image_id'), 4, r'annotation 9 .*image_id 4 is not among the 2 images'),
    ('string image id', (A, 2, 'image_id'), '7', r"image_id='7'; an integer is needed"),
    ('huge id', (A, 0, 'id'), 2**70, 'does not fit into 64 bits'),
    ('huge image id', ('images', 0, 'id'), 2**70, r'images\[0\].*64 bits'),
    ('no area', (A, 0, 'area'), None, 'area is None'),
    ('no id', (A, 2, 'id'), KeyError, r"annotations\[2\]: has no 'id'"),
    ('no box', (A, 2, 'bbox'), KeyError, r"annotation 9 .*has no 'bbox'"),
    ('three numbers', (A, 2, 'bbox'), [1, 2, 3], r'bbox is \[1, 2, 3\]; four numbers'),
    ('text in box', (A, 2, 'bbox'), [1, 2, 3, 'x'], 'four numbers'),
    ('box outside', (A, 0, 'bbox'), [30, 2, 4, 3], r'annotation 0 .*a.jpg.*lies outside the image of 20 x 10 pixels'),
    ('box above', (A, 0, 'bbox'), [3, -9, 4, 3], 'lies outside'),
    ('box nan', (A, 0, 'bbox'), [math.nan, 2, 4, 3], 'not finite'),
    ('two points', (A, 0, 'segmentation'), [[2, 2, 6, 2]], r'annotation 0 .*polygon with 2 points; at least 3'),
    ('odd', (A, 0, 'segmentation'), [[2, 2, 6, 2, 6, 5, 2]], 'even list'),
    ('flat', (A, 0, 'segmentation'), [2, 2, 6, 2, 6, 5], 'list of lists'),
    ('inf', (A, 0, 'segmentation'), [[2, 2, 6, 2, 6, math.inf]], 'not finite'),
    ('rle size', (A, 1, 'segmentation', 'size'), [6, 8], r'annotation 3 .*size \[6, 8\], but the image is .*\[8, 6\]'),
    ('rle runs', (A, 1, 'segmentation', 'counts'), [0, 8, 30], 'cover 38 pixels'),
    ('rle text', (A, 1, 'segmentation', 'counts'), '\u00e9', 'cannot be read'),
    ('rle keys', (A, 1, 'segmentation'), dict(size=[8, 6]), 'counts'),
]


@pytest.mark.parametrize(('path', 'value', 'message'), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_defects_are_named(path, value, message, coco, write):
    _change(path, value)(coco)
    with pytest.raises(ValueError, match=message) as caught:
        CocoJson.load(write(coco))
    assert 'train.json' in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('row', [row for row in BAD if row[1][0] == A and row[0] in (
    'box outside', 'box nan', 'two points', 'rle size')], ids=lambda row: row[0])
def test_unusable_records_can_be_left_out(row, coco, write):
    _change(row[1], row[2])(coco)
    data = CocoJson.load(write(coco), on_defect='skip')
    assert len(data.annotations.ids) == 2 and len(data.annotations.segmentations) == 2
    assert [d.severity for d in data.defects] == ['error']
    for record in range(2):
        kept = data.annotation(record)
        source = next(a for a in coco['annotations'] if a['id'] == kept['id'])
        assert ('segmentation' in kept) == ('segmentation' in source)


def test_boxes_that_only_need_care_are_warned_of(coco, write):
    coco['annotations'][0]['bbox'] = [2, 2, 4, 0]
    coco['annotations'][2]['bbox'] = [15, 1, 9, 2]
    data = CocoJson.load(write(coco))
    assert [d.severity for d in data.defects] == ['warning', 'warning']
    assert 'no extent' in str(data.defects[0]) and 'by 4.0' in str(data.defects[1])
    assert data.annotations.usable.tolist() == [False, True, True]
    assert data.annotation(2)['bbox'] == [15, 1, 9, 2]  # evaluation sees what the file says


def test_file_errors(coco, write, tmp_path):
    path = write(coco)
    with pytest.raises(FileNotFoundError, match=r'did you mean train\.json'):
        CocoJson.load(tmp_path / 'trian.json')
    with pytest.raises(FileNotFoundError, match='nor does its folder'):
        CocoJson.load(tmp_path / 'none' / 'train.json')
    text = path.read_text()
    path.write_text(text[:len(text) // 2])
    with pytest.raises(ValueError, match=rf'train\.json is not valid JSON.*of {len(text) // 2} .*cut off'):
        CocoJson.load(path)
    path.write_text('[1]')
    with pytest.raises(ValueError, match='holds a JSON list'):
        CocoJson.load(path)
    path.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(ValueError, match='not UTF-8'):
        CocoJson.load(path)
    with pytest.raises(ValueError, match="on_defect='ignore'"):
        CocoJson.load(write(coco), on_defect='ignore')


def test_lists_of_test_images_need_no_annotations(coco, write):
    del coco['annotations']
    data = CocoJson.load(write(coco), require_annotations=False)
    assert len(data) == 2 and data.annotations_of(0) == [] and data.to_dict()['annotations'] == []


def test_nothing_is_written_for_contradictory_records(coco, tmp_path):
    spoilt = copy.deepcopy(coco)
    spoilt['annotations'][0]['category_id'] = 99
    with pytest.raises(ValueError, match='category_id 99'):
        write_coco_json(tmp_path / 'x.json', **spoilt)
    assert list(tmp_path.iterdir()) == []


def test_many_defects_are_counted(coco, write):
    coco['annotations'] = [dict(id=i, image_id=0, category_id=0, bbox=[50, 0, 1, 1]) for i in range(9)]
    with pytest.raises(ValueError, match='and 6 more'):
        CocoJson.load(write(coco))


def test_arrays_are_accepted_by_the_writer(coco, tmp_path):
    coco['annotations'][0].update(bbox=np.array([2, 2, 4, 3]), segmentation=[np.array([2, 2, 6, 2, 6, 5.0])])
    coco['annotations'][1]['segmentation'] = rle.encode(np.eye(8, 6))
    write_coco_json(tmp_path / 'x.json', **coco)
    assert len(CocoJson.load(tmp_path / 'x.json').annotations.ids) == 3
