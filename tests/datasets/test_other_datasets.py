import json

import cv2
import numpy as np
import pytest

from maskforge.datasets import MiddleFormatDataset, VOCDataset
from maskforge.formats.middle_json import write_middle


def _xml(objects, size=(10, 20)):
    boxes = ''.join(f'<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{box[0]}</xmin>'
                    f'<ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>'
                    for name, box, difficult in objects)
    size = f'<size><height>{size[0]}</height><width>{size[1]}</width></size>' if size else ''
    return f'<annotation><filename></filename>{size}{boxes}</annotation>'


@pytest.fixture
def voc(tmp_path):
    for folder in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / 'Annotations' / 'a.xml').write_text(_xml([('RBC', (1, 2, 9, 8), 0), ('WBC', (3, 3, 25, 5), 1)]))
    (tmp_path / 'Annotations' / 'b.xml').write_text(_xml([('Platelet', (1, 1, 2, 2), 0)], size=None))
    (tmp_path / 'ImageSets/Main/train.txt').write_text('a\n')
    cv2.imwrite(str(tmp_path / 'JPEGImages' / 'b.jpg'), np.zeros((6, 7, 3), np.uint8))
    return tmp_path


def test_voc(voc):
    data = VOCDataset(data_root=str(voc), ann_file='ImageSets/Main/train.txt')
    assert data.metainfo['classes'] == ('Platelet', 'RBC', 'WBC')  # those of the whole folder
    record = data.get_data_info(0)
    assert record['img_path'] == str(voc / 'JPEGImages' / 'a.jpg') and record['img_id'] == 'a'
    assert record['instances'] == [dict(bbox=[0, 1, 9, 8], bbox_label=1, ignore_flag=0),
                                   dict(bbox=[2, 2, 20, 5], bbox_label=2, ignore_flag=1)]
    assert VOCDataset(data_root=str(voc)).image_sizes().tolist() == [[10, 20], [6, 7]]
    small = VOCDataset(data_root=str(voc), filter_cfg=dict(bbox_min_size=3))
    assert small.get_data_info(1)['instances'][0]['ignore_flag'] == 1


def test_voc_classes(voc):
    (voc / 'Annotations' / 'b.xml').unlink()
    (voc / 'Annotations' / 'a.xml').write_text(_xml([('dog', (1, 2, 9, 8), 0)]))
    assert len(VOCDataset(data_root=str(voc)).metainfo['classes']) == 20
    assert VOCDataset(data_root=str(voc), metainfo=dict(classes=('cat', 'dog'))).get_cat_ids(0) == [1]
    with pytest.raises(ValueError, match=r"asks for 'dgo'.*did you mean 'dog'"):
        VOCDataset(data_root=str(voc), metainfo=dict(classes=('dgo',)))


def test_voc_errors(voc):
    with pytest.raises(FileNotFoundError, match=r'did you mean train\.txt'):
        VOCDataset(data_root=str(voc), ann_file='ImageSets/Main/tain.txt')
    with pytest.raises(FileNotFoundError, match='data_root and ann_subdir'):
        VOCDataset(data_root=str(voc), ann_subdir='Annots')
    (voc / 'Annotations' / 'a.xml').write_text(_xml([('RBC', (30, 2, 40, 8), 0)]))
    with pytest.raises(ValueError, match=r'a\.xml, object\[0\] \(RBC\).*outside the image of 20 x 10'):
        VOCDataset(data_root=str(voc))
    assert len(VOCDataset(data_root=str(voc), on_defect='skip')) == 2


MIDDLE = [dict(filename='a.jpg', width=20, height=10, ann=dict(
    bboxes=[[1, 2, 5, 6], [15, 2, 25, 6]], labels=[1, 0], bboxes_ignore=[[0, 0, 3, 3]], labels_ignore=[1],
    masks=[[[1, 2, 5, 2, 5, 6]], dict(size=[10, 20], counts=[0, 5, 195])]))]
OPENMMLAB = dict(metainfo=dict(classes=['cat', 'dog']), data_list=[
    dict(img_path='a.jpg', width=20, height=10, instances=[dict(bbox=[1, 2, 5, 6], bbox_label=1)])])


def _middle(tmp_path, content, **settings):
    write_middle(tmp_path / 'a.json', content)
    return MiddleFormatDataset(ann_file='a.json', data_root=str(tmp_path), data_prefix=dict(img='images'), **settings)


def test_middle(tmp_path):
    data = _middle(tmp_path, MIDDLE, metainfo=dict(classes=('cat', 'dog')))
    first, second, ignored = data.get_data_info(0)['instances']
    assert (first['bbox'], first['bbox_label'], first['mask']) == ([1, 2, 5, 6], 1, [[1, 2, 5, 2, 5, 6]])
    assert second['bbox'] == [15, 2, 20, 6] and second['bbox_label'] == 0
    assert ignored == dict(bbox=[0, 0, 3, 3], bbox_label=1, ignore_flag=1)
    assert data.get_data_info(0)['img_path'] == str(tmp_path / 'images' / 'a.jpg')
    assert data.metainfo['category_ids'] == (0, 1)


def test_openmmlab_format_with_selected_classes(tmp_path):
    assert _middle(tmp_path, OPENMMLAB).metainfo['classes'] == ('cat', 'dog')
    data = _middle(tmp_path, OPENMMLAB, metainfo=dict(classes=('dog',)))
    assert data.get_cat_ids(0) == [0] and data.metainfo['category_ids'] == (1,)
    with pytest.raises(ValueError, match="'bird'"):
        _middle(tmp_path, OPENMMLAB, metainfo=dict(classes=('bird',)))


@pytest.mark.parametrize(('change', 'message'), [
    (dict(labels=[1, 7]), 'instance 1: label 7 is not among 0 to 1'),
    (dict(bboxes=[[1, 2, 5, 6], [30, 2, 35, 6]]), 'instance 1: box .* outside'),
    (dict(masks=[[[1, 2]], [[1, 2, 5, 2, 5, 6]]]), 'instance 0: .*polygon with 1 points'),
    (dict(masks=[]), '0 masks for 2 boxes')])
def test_middle_errors(change, message, tmp_path):
    content = json.loads(json.dumps(MIDDLE))
    content[0]['ann'].update(change)
    with pytest.raises(ValueError, match=message):
        _middle(tmp_path, content, metainfo=dict(classes=('cat', 'dog')))


def test_middle_needs_class_names(tmp_path):
    with pytest.raises(ValueError, match='has no class names'):
        _middle(tmp_path, MIDDLE)
