import json
import os

import numpy as np
import pytest

from maskforge.formats.panoptic_json import PanopticJson, Segments, read_segments, write_panoptic_json
from maskforge.formats.panoptic_png import write_panoptic_png


def data():
    return dict(
        images=[dict(id=4, file_name='a.jpg', height=2, width=3), dict(id=9, file_name='b.jpg', height=2, width=3)],
        categories=[dict(id=7, name='sky', isthing=0), dict(id=2, name='dog', isthing=1)],
        annotations=[dict(image_id=4, file_name='a.png', segments_info=[
            dict(id=70000, category_id=7, iscrowd=0), dict(id=5, category_id=2, iscrowd=1)])])


def test_columns():
    found = PanopticJson.from_dict(data())
    assert found.category_ids.tolist() == [2, 7] and found.is_thing.tolist() == [True, False]
    assert found.png_names == ['a.png', ''] and len(found) == 2
    segments = found.segments_of(0)
    assert (segments.ids.tolist(), segments.category_rows.tolist(), segments.crowd.tolist()) == (
        [70000, 5], [1, 0], [False, True])
    assert len(found.segments_of(1)) == 0


def edit(change):
    content = data()
    change(content)
    return content


@pytest.mark.parametrize('change, message', [
    (lambda d: d.pop('annotations'), "list 'annotations' is missing"),
    (lambda d: d['annotations'][0].update(bbox=[0, 0, 1, 1]) or d['annotations'][0].pop('segments_info'),
     'holds COCO instances'),
    (lambda d: d['categories'][0].update(id=0), 'category 0: has an id below 1'),
    (lambda d: d['categories'][1].update(color=True), r'categories\[1\]: the colour is True; three numbers from 0'),
    (lambda d: d['categories'][1].update(isthing='yes'), r"categories\[1\]: \"isthing\" is 'yes'; 0 or 1 is needed"),
    (lambda d: d['annotations'][0]['segments_info'][0].update(id=0), r'annotations\[0\]: segment ids must be in 1'),
    (lambda d: d['annotations'][0]['segments_info'][0].update(id=5), 'a segment id occurs twice'),
    (lambda d: d['annotations'][0]['segments_info'][0].update(category_id=3), 'segment 70000 has category_id 3'),
    (lambda d: d['annotations'][0].update(image_id=77), 'image_id 77 is not in images'),
    (lambda d: d['annotations'][0].pop('file_name'), "lacks 'file_name'"),
    (lambda d: d['annotations'].append(d['annotations'][0]), 'image_id 4 has an annotation already'),
])
def test_errors_name_the_record(change, message):
    with pytest.raises(ValueError, match=message):
        PanopticJson.from_dict(edit(change), path='x.json')


def test_skip_leaves_the_image_without_annotation():
    found = PanopticJson.from_dict(edit(lambda d: d['annotations'][0]['segments_info'][0].update(id=0)),
                                   on_defect='skip')
    assert found.png_names == ['', '']


def test_files_come_back(tmp_path):
    content = data()
    write_panoptic_json(tmp_path / 'p.json', **content)
    assert json.loads((tmp_path / 'p.json').read_text()) == content
    found = PanopticJson.load(tmp_path / 'p.json')
    ids = np.array([[0, 5, 5], [70000, 70000, 0]])
    write_panoptic_png(ids, tmp_path / 'a.png')
    segments = read_segments(tmp_path / 'a.png', found.segments_of(0), size=(2, 3))
    assert segments.tolist() == [[0, 2, 2], [1, 1, 0]]


@pytest.mark.parametrize('ids, size, message', [
    ([[8, 5]], (1, 2), 'segment id 8, which segments_info'),
    ([[5, 0]], (2, 2), '2 x 1 pixels, its image 2 x 2'),
])
def test_png_errors(tmp_path, ids, size, message):
    write_panoptic_png(np.array(ids), tmp_path / 'a.png')
    segments = Segments(np.array([5, 6]), np.zeros(2, int), np.zeros(2, bool))
    with pytest.raises(ValueError, match=message):
        read_segments(tmp_path / 'a.png', segments, size=size)


@pytest.mark.skipif('MASKFORGE_TEST_DATA' not in os.environ, reason='MASKFORGE_TEST_DATA names a folder of real data')
def test_real_sample():
    root = f'{os.environ["MASKFORGE_TEST_DATA"]}/coco_panoptic_sample'
    found = PanopticJson.load(f'{root}/panoptic.json')
    segments = read_segments(f'{root}/panoptic/{found.png_names[0]}', found.segments_of(0),
                             size=tuple(found.images.sizes[0]))
    areas = np.bincount(segments.ravel())[1:]
    assert areas[:3].tolist() == [3528, 3751, 2301] and found.segments_of(0).crowd.sum() == 1
