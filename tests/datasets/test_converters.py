import json

import cv2
import numpy as np
import pytest

from maskforge.datasets.converters import check_coco, cityscapes, labelme, via, voc, yolo
from maskforge.formats import CocoJson, rle


def _image(path, height=10, width=20):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))


def _region(**attributes):
    shape = dict(name='polygon', all_points_x=[2, 8, 8, 2], all_points_y=[1, 1, 5, 5])
    return dict(shape_attributes=shape, region_attributes=attributes)


@pytest.fixture
def balloons(tmp_path):
    _image(tmp_path / 'a.jpg')
    _image(tmp_path / 'b.jpg')
    entries = {'a': dict(filename='a.jpg', regions={'0': _region(kind='red'), '1': _region(kind={'blue': True})}),
               'b': dict(filename='b.jpg', regions=[dict(shape_attributes=dict(name='point', cx=1, cy=1))])}
    (tmp_path / 'via.json').write_text(json.dumps(entries))
    return tmp_path


def test_balloon_as_in_the_tutorial(balloons):
    done = via.convert(balloons / 'via.json', balloons / 'coco.json', first_id=0)
    data = json.loads((balloons / 'coco.json').read_text())
    assert data['categories'] == [dict(id=0, name='balloon')]
    assert [image['id'] for image in data['images']] == [0, 1] and [a['id'] for a in data['annotations']] == [0, 1]
    assert data['annotations'][0] == dict(
        id=0, image_id=0, category_id=0, bbox=[2, 1, 6, 4], area=24, iscrowd=0,
        segmentation=[[2.5, 1.5, 8.5, 1.5, 8.5, 5.5, 2.5, 5.5]])
    assert (done.images, done.annotations, done.classes) == (2, 2, dict(balloon=2))
    assert 'b.jpg, region 0' in done.skipped[0] and '1 records left out' in str(done)


def test_via_options(balloons):
    done = via.convert(balloons / 'via.json', balloons / 'coco.json', classes=['red', 'blue'], attribute='kind',
                       half_pixel=False, area='mask')
    coco = CocoJson.load(balloons / 'coco.json')
    assert done.classes == dict(red=1, blue=1) and coco.annotations.ids.tolist() == [1, 2]
    assert coco.annotation(0)['area'] == 24 and coco.annotation(0)['segmentation'][0][0] == 2


@pytest.mark.parametrize(('options', 'error', 'message'), [
    (dict(classes=['a', 'b']), ValueError, 'need attribute'), (dict(attribute='colour'), ValueError, "'colour'"),
    (dict(area='polygon'), ValueError, "area='polygon'"), (dict(first_id=5), ValueError, 'first_id=5'),
    (dict(image_dir='nowhere'), FileNotFoundError, 'nowhere')])
def test_via_errors(options, error, message, balloons):
    with pytest.raises(error, match=message):
        via.convert(balloons / 'via.json', balloons / 'coco.json', **options)


def test_voc(tmp_path):
    text = ('<annotation><filename>{0}.jpg</filename><size><height>10</height><width>20</width></size><object><name>{1}'
            '</name><difficult>{2}</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>{3}</ymax>'
            '</bndbox></object></annotation>')
    for folder in ('Annotations', 'ImageSets/Main'):
        (tmp_path / folder).mkdir(parents=True)
    for row in (('a', 'cat', 0, 8), ('b', 'dog', 1, 8), ('c', 'dog', 0, 1)):
        (tmp_path / 'Annotations' / f'{row[0]}.xml').write_text(text.format(*row))
    (tmp_path / 'ImageSets/Main/train.txt').write_text('a\nb\n')
    done = voc.convert(tmp_path, tmp_path / 'train.json', split='train')
    coco = CocoJson.load(tmp_path / 'train.json')
    assert done.classes == dict(cat=1, dog=1) and len(coco) == 2
    assert coco.annotations.boxes[0].tolist() == [0, 1, 9, 7] and coco.annotations.crowd.tolist() == [False, True]
    done = voc.convert(tmp_path, tmp_path / 'all.json', classes=['dog'])
    assert len(done.skipped) == 2 and "class 'cat'" in done.skipped[0] and 'no extent' in done.skipped[1]
    (tmp_path / 'ImageSets/Main/train.txt').write_text('z\n')
    with pytest.raises(FileNotFoundError, match=r'z\.xml'):
        voc.convert(tmp_path, tmp_path / 'train.json', split='train')
    with pytest.raises(FileNotFoundError, match='Annotations'):
        voc.convert(tmp_path / 'none', tmp_path / 'train.json')


def test_labelme(tmp_path):
    shape = dict(label='cat', points=[[1, 1], [5, 1], [5, 5], [1, 5]], shape_type='polygon', group_id=3)
    other = dict(shape, points=[[11, 1], [15, 1], [15, 5], [11, 5]])
    alone = dict(shape, label='dog', group_id=None)
    content = dict(imagePath='a.jpg', imageHeight=10, imageWidth=20, shapes=[shape, alone, other, alone])
    (tmp_path / 'in' / 'day1').mkdir(parents=True)
    (tmp_path / 'in' / 'day1' / 'a.json').write_text(json.dumps(content))
    done = labelme.convert(tmp_path / 'in', tmp_path / 'out.json')
    coco = CocoJson.load(tmp_path / 'out.json')
    assert done.classes == dict(cat=1, dog=2) and coco.images.names == ['day1/a.jpg']
    grouped = coco.annotation(0)
    assert len(grouped['segmentation']) == 2 and grouped['bbox'] == [1, 1, 14, 4] and grouped['area'] == 32
    with pytest.raises(FileNotFoundError, match='no LabelMe files'):
        labelme.convert(tmp_path / 'empty', tmp_path / 'out.json')


def test_yolo(tmp_path):
    _image(tmp_path / 'images' / 'train' / 'a.jpg')
    _image(tmp_path / 'images' / 'train' / 'b.jpg')
    (tmp_path / 'labels' / 'train').mkdir(parents=True)
    label = tmp_path / 'labels' / 'train' / 'a.txt'
    label.write_text('1 0.5 0.5 0.2 0.4\n0 0.1 0.1 0.5 0.1 0.5 0.5\n')
    with pytest.raises(FileNotFoundError, match='pass classes'):
        yolo.convert(tmp_path / 'images' / 'train', tmp_path / 'out.json')
    (tmp_path / 'data.yaml').write_text('names: [cat, dog]')
    done = yolo.convert(tmp_path / 'images' / 'train', tmp_path / 'out.json')
    coco = CocoJson.load(tmp_path / 'out.json')
    assert (done.images, done.classes) == (2, dict(cat=1, dog=1))
    assert np.allclose(coco.annotations.boxes, [[8, 3, 4, 4], [2, 1, 8, 4]])
    assert coco.annotations.segmentations[0] is None and coco.annotations.segmentations[1][0].tolist() == [
        2, 1, 10, 1, 10, 5]
    label.write_text('2 0.5 0.5 0.2 0.4\n')
    with pytest.raises(ValueError, match=r'line 1: class 2, but there are 2 names'):
        yolo.convert(tmp_path / 'images' / 'train', tmp_path / 'out.json')
    with pytest.raises(FileNotFoundError, match='pass label_dir'):
        yolo.convert(tmp_path, tmp_path / 'out.json')


@pytest.mark.parametrize('annotation', ['instance_ids', 'polygons'])
def test_cityscapes(annotation, tmp_path):
    _image(tmp_path / 'leftImg8bit/train/ulm/ulm_1_leftImg8bit.png')
    truth = tmp_path / 'gtFine/train/ulm'
    truth.mkdir(parents=True)
    ids = np.full((10, 20), 7, np.uint16)
    ids[0:6, 0:6], ids[2:6, 2:8], ids[8, :] = 26000, 24001, 25
    cv2.imwrite(str(truth / 'ulm_1_gtFine_instanceIds.png'), ids)
    square = lambda x0, y0, x1, y1: [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]  # noqa: E731
    objects = [dict(label='road', polygon=square(0, 0, 19, 9)), dict(label='car', polygon=square(0, 0, 5, 5)),
               dict(label='person', polygon=square(2, 2, 7, 5)), dict(label='ridergroup', polygon=square(0, 8, 19, 8)),
               dict(label='bus', polygon=square(3, 3, 4, 4), deleted=1)]
    (truth / 'ulm_1_gtFine_polygons.json').write_text(json.dumps(dict(imgHeight=10, imgWidth=20, objects=objects)))
    done = cityscapes.convert(tmp_path, tmp_path / 'out.json', annotation=annotation)
    coco = CocoJson.load(tmp_path / 'out.json')
    assert coco.images.names == ['ulm/ulm_1_leftImg8bit.png'] and len(done.classes) == 8
    found = {coco.category_names[row]: (coco.annotation(i)['area'], coco.annotation(i)['iscrowd'])
             for i, row in enumerate(coco.annotations.category_rows)}
    assert found == dict(car=(20, 0), person=(24, 0), rider=(20, 1))
    with pytest.raises(FileNotFoundError, match='no images'):
        cityscapes.convert(tmp_path, tmp_path / 'out.json', split='test')
    with pytest.raises(ValueError, match="annotation='masks'"):
        cityscapes.convert(tmp_path, tmp_path / 'out.json', annotation='masks')
    for path in truth.iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError):
        cityscapes.convert(tmp_path, tmp_path / 'out.json', annotation=annotation)


def test_nothing_to_convert(tmp_path):
    (tmp_path / 'via.json').write_text('{}')
    with pytest.raises(ValueError, match='no image was found'):
        via.convert(tmp_path / 'via.json', tmp_path / 'out.json')
    assert not (tmp_path / 'out.json').exists()


def test_the_checker_lists_every_defect(drawn, tmp_path):
    assert [d for d in check_coco(drawn.annotations['train'], image_dir=drawn.images['train'])
            if 'has no annotation' not in d.problem] == []
    data = json.loads(drawn.annotations['train'].read_text())
    images, annotations = data['images'], data['annotations']
    images[0]['height'] = 65
    images[1]['file_name'] = 'gone.jpg'
    annotations[0]['category_id'] = 77
    annotations[1]['segmentation'] = [[1, 1, 2, 2]]
    annotations[2]['bbox'] = [0, 0, 5, 0]
    annotations[3]['bbox'] = [900, 0, 5, 5]
    annotations[4]['bbox'][2] += 8
    annotations[8].update(segmentation=rle.to_json(rle.encode(np.zeros((64, 64), bool))), image_id=3)
    annotations.append(dict(annotations[6], id=1000))
    data['categories'].append(dict(id=50, name='unused'))
    path = tmp_path / 'bad.json'
    path.write_text(json.dumps(data))
    text = '\n'.join(map(str, check_coco(path, image_dir=drawn.images['train'])))
    for message in ('category_id 77', '2 points', 'no extent', 'lies outside', 'but its mask spans', 'has no pixel',
                    'repeats class and box', "category 'unused'", 'is 64 x 64 pixels, but its record says 64 x 65',
                    'gone.jpg does not exist'):
        assert message in text, message
