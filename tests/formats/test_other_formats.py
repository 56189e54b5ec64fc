import json
import pickle

import numpy as np
import pytest

from maskforge.formats.labelme_json import read_labelme_json
from maskforge.formats.middle_json import read_middle, write_middle
from maskforge.formats.panoptic_png import read_panoptic_png, write_panoptic_png
from maskforge.formats.via_json import read_via_json
from maskforge.formats.voc_xml import read_voc_xml
from maskforge.formats.yolo_txt import read_yolo_names, read_yolo_txt

VOC = ('<annotation><filename>a.jpg</filename>{size}<object><name>{name}</name><difficult>1</difficult><bndbox>'
       '<xmin>{xmin}</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox></object></annotation>')
SIZE = '<size><width>20</width><height>10</height></size>'


def test_voc(tmp_path):
    path = tmp_path / 'a.xml'
    path.write_text(VOC.format(size=SIZE, name='cat', xmin=1))
    record = read_voc_xml(path)
    assert (record.file_name, record.height, record.width) == ('a.jpg', 10, 20)
    assert record.objects[0].box == (0, 1, 9, 8) and record.objects[0].difficult
    assert read_voc_xml(path, one_based=False).objects[0].box == (1, 2, 9, 8)
    path.write_text(VOC.format(size='', name='cat', xmin=1))
    assert read_voc_xml(path).height is None


@pytest.mark.parametrize(('text', 'message'), [
    ('<annotation>', 'not valid XML'),
    (VOC.format(size=SIZE, name=' ', xmin=1), r'object\[0\] has no name'),
    (VOC.format(size=SIZE, name='cat', xmin='x'), r"object\[0\] \(cat\) bndbox/xmin is 'x'"),
    (VOC.format(size=SIZE, name='cat', xmin=1).replace('ymax', 'yend'), 'has no bndbox/ymax')])
def test_voc_errors(text, message, tmp_path):
    (tmp_path / 'a.xml').write_text(text)
    with pytest.raises(ValueError, match=message):
        read_voc_xml(tmp_path / 'a.xml')


def _via(shape):
    return dict(filename='a.jpg', size=1, regions={'0': dict(shape_attributes=shape, region_attributes=dict(kind='x'))})


@pytest.mark.parametrize(('shape', 'extent'), [
    (dict(name='polygon', all_points_x=[1, 5, 3], all_points_y=[1, 2, 6]), [1, 1, 5, 6]),
    (dict(name='rect', x=2, y=3, width=4, height=5), [2, 3, 6, 8]),
    (dict(name='circle', cx=10, cy=10, r=4), [6, 6, 14, 14]),
    (dict(name='ellipse', cx=10, cy=10, rx=4, ry=2, theta=np.pi / 2), [8, 6, 12, 14])])
@pytest.mark.parametrize('project', [False, True])
def test_via(shape, extent, project, tmp_path):
    data = {'a.jpg1': _via(shape)}
    (tmp_path / 'via.json').write_text(json.dumps({'_via_img_metadata': data} if project else data))
    region = read_via_json(tmp_path / 'via.json')[0].regions[0]
    assert np.allclose([*region.points.min(0), *region.points.max(0)], extent, atol=1e-6)
    assert region.attributes == dict(kind='x')


@pytest.mark.parametrize(('shape', 'problem'), [
    (dict(name='point', cx=1, cy=1), 'no area'), (dict(name='polygon', all_points_x=[1], all_points_y=[1]), '1 points'),
    (dict(name='rect', x=1), "lacks 'y'"), (dict(name='polyline', all_points_x=[1], all_points_y=[1]), 'no area'),
    (dict(name='polygon', all_points_x=[1, 2, 3], all_points_y=[1]), '3 x and 1 y')])
def test_via_regions_without_area_are_listed(shape, problem, tmp_path):
    (tmp_path / 'via.json').write_text(json.dumps({'a': _via(shape)}))
    image, = read_via_json(tmp_path / 'via.json')
    assert not image.regions and problem in image.problems[0] and 'a.jpg, region 0' in image.problems[0]


def test_via_error(tmp_path):
    (tmp_path / 'via.json').write_text('{"images": []}')
    with pytest.raises(ValueError, match=r"entry 'images'.*not VIA's JSON"):
        read_via_json(tmp_path / 'via.json')


def test_labelme(tmp_path):
    shapes = [dict(label='cat', points=[[1, 1], [5, 1], [3, 4]], shape_type='polygon', group_id=None),
              dict(label='dog', points=[[6, 6], [2, 2]], shape_type='rectangle'),
              dict(label='sun', points=[[5, 5], [5, 7]], shape_type='circle'),
              dict(label='line', points=[[5, 5], [5, 7]], shape_type='line')]
    data = dict(shapes=shapes, imagePath='..\\images\\a.jpg', imageHeight=10, imageWidth=20, imageData=None)
    (tmp_path / 'a.json').write_text(json.dumps(data))
    file = read_labelme_json(tmp_path / 'a.json')
    assert file.image_name == '../images/a.jpg' and [s.label for s in file.shapes] == ['cat', 'dog', 'sun']
    assert file.shapes[1].points.tolist() == [[2, 2], [6, 2], [6, 6], [2, 6]]
    assert np.allclose(file.shapes[2].points.max(0), [7, 7]) and 'no area' in file.problems[0]
    (tmp_path / 'a.json').write_text('{"shapes": []}')
    with pytest.raises(ValueError, match="no 'imagePath'"):
        read_labelme_json(tmp_path / 'a.json')


def test_yolo(tmp_path):
    (tmp_path / 'a.txt').write_text('0 0.5 0.5 0.2 0.4\n\n1 0 0 1 0 1 1\n')
    box, polygon = read_yolo_txt(tmp_path / 'a.txt')
    assert box.is_box and np.allclose([box.points.min(0), box.points.max(0)], [[0.4, 0.3], [0.6, 0.7]])
    assert not polygon.is_box and polygon.label == 1 and polygon.points.shape == (3, 2)


@pytest.mark.parametrize(('text', 'message'), [
    ('0 0.5 0.5 0.2', 'line 1 has 3 coordinates'), ('cat 0 0 1 1', 'not a class number'), ('0 0 nan 1 1', 'finite')])
def test_yolo_errors(text, message, tmp_path):
    (tmp_path / 'a.txt').write_text(text)
    with pytest.raises(ValueError, match=message):
        read_yolo_txt(tmp_path / 'a.txt')


@pytest.mark.parametrize(('name', 'text', 'names'), [
    ('data.yaml', 'names: [cat, dog]', ['cat', 'dog']), ('data.yaml', 'names: {0: cat, 1: dog}', ['cat', 'dog']),
    ('classes.txt', 'cat\n\ndog\n', ['cat', 'dog']), ('data.yaml', 'names: {1: cat}', None), ('data.yaml', '', None)])
def test_yolo_names(name, text, names, tmp_path):
    (tmp_path / name).write_text(text)
    if names:
        assert read_yolo_names(tmp_path / name) == names
    else:
        with pytest.raises(ValueError, match='no class names'):
            read_yolo_names(tmp_path / name)


MIDDLE = [dict(filename='a.jpg', width=20, height=10, ann=dict(
    bboxes=np.array([[1, 2, 5, 6.0]]), labels=np.array([1]), bboxes_ignore=np.zeros((0, 4)),
    masks=[[[1, 2, 5, 2, 5, 6]]]))]


@pytest.mark.parametrize('name', ['a.json', 'a.pkl'])
def test_middle(name, tmp_path):
    path = tmp_path / name
    if name.endswith('json'):
        write_middle(path, MIDDLE)
    else:
        path.write_bytes(pickle.dumps(MIDDLE))
    record, = read_middle(path).records
    assert record['img_path'] == 'a.jpg' and record['instances'] == [
        dict(bbox=[1, 2, 5, 6], bbox_label=1, ignore_flag=0, mask=[[1, 2, 5, 2, 5, 6]])]


class _Evil:
    def __reduce__(self):
        return print, ('run',)


def test_pickles_cannot_run_code(tmp_path, capsys):
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps([_Evil()]))
    with pytest.raises(ValueError, match=r'builtins\.print, which could run code'):
        read_middle(tmp_path / 'a.pkl')
    (tmp_path / 'a.pkl').write_bytes(b'')
    with pytest.raises(ValueError, match='plain pickle'):
        read_middle(tmp_path / 'a.pkl')
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize(('data', 'message'), [
    ({}, "without 'data_list'"), ([1], r'record 0 is a int'), ([dict(filename='a')], r"record 0 has no 'width'"),
    ([dict(filename='a', width=2, height=2, ann=dict(bboxes=[[0, 0, 1, 1]]))], r"ann has no 'labels'"),
    ([dict(filename='a', width=2, height=2, ann=dict(bboxes=[[0, 0, 1, 1]], labels=[0, 1]))], 'do not fit'),
    (dict(metainfo={}, data_list=[dict(img_path='a', height=1, width=1, instances=[dict(bbox=[1, 2, 3])])]),
     r"instances\[0\] has no 'bbox_label'")])
def test_middle_errors(data, message, tmp_path):
    (tmp_path / 'a.json').write_text(json.dumps(data))
    with pytest.raises(ValueError, match=message):
        read_middle(tmp_path / 'a.json')


def test_panoptic_png(tmp_path):
    ids = np.array([[0, 1, 255], [256, 65536, 2**24 - 1]])
    write_panoptic_png(ids, tmp_path / 'a.png')
    assert (read_panoptic_png(tmp_path / 'a.png') == ids).all()
    with pytest.raises(ValueError, match='must be in'):
        write_panoptic_png(np.array([[2**24]]), tmp_path / 'a.png')
    (tmp_path / 'a.png').write_bytes(b'x')
    with pytest.raises(ValueError, match='not a readable PNG'):
        read_panoptic_png(tmp_path / 'a.png')
