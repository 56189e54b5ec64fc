import json

import cv2
import numpy as np
import pytest
import torch

from maskforge.analysis.confusion_matrix import confusion_matrix, draw_matrix, run
from maskforge.checkpoints import save_checkpoint
from maskforge.registry import DATASETS, MODELS


class Records:
    """A data set of two images and two classes with ids 4 and 9; the second object of image 1 is ignored."""

    metainfo = dict(classes=('cat', 'dog'), category_ids=(4, 9))
    data = [dict(img_id=1, instances=[dict(bbox=[0, 0, 10, 10], bbox_label=0, ignore_flag=0),
                                      dict(bbox=[50, 50, 60, 60], bbox_label=1, ignore_flag=1)]),
            dict(img_id=2, instances=[dict(bbox=[0, 0, 10, 10], bbox_label=1),
                                      dict(bbox=[20, 0, 30, 10], bbox_label=1)])]

    def __len__(self):
        return 2

    def get_data_info(self, index):
        return self.data[index]


def row(image, category, box, score=0.9):
    return dict(image_id=image, category_id=category, bbox=box, score=score)


@pytest.mark.parametrize(('rows', 'expected', 'settings'), [
    ([], [[0, 0, 1], [0, 0, 2], [0, 0, 0]], {}),
    ([row(1, 4, [0, 0, 10, 10]), row(2, 4, [0, 0, 10, 9]), row(2, 9, [20, 0, 10, 10])],
     [[1, 0, 0], [1, 1, 0], [0, 0, 0]], {}),
    # twice the same object: one is right, one has no object
    ([row(1, 4, [0, 0, 10, 10]), row(1, 4, [0, 0, 10, 10], 0.8)], [[1, 0, 0], [0, 0, 2], [1, 0, 0]], {}),
    # suppressed
    ([row(1, 4, [0, 0, 10, 10]), row(1, 4, [0, 0, 10, 10], 0.8)], [[1, 0, 0], [0, 0, 2], [0, 0, 0]],
     dict(nms_iou_thr=0.5)),
    # low score, low overlap, on an ignored object
    ([row(1, 4, [0, 0, 10, 10], 0.1)], [[0, 0, 1], [0, 0, 2], [0, 0, 0]], {}),
    ([row(1, 4, [0, 0, 10, 10], 0.1)], [[1, 0, 0], [0, 0, 2], [0, 0, 0]], dict(score_thr=0.05)),
    ([row(1, 9, [5, 0, 10, 10])], [[0, 0, 1], [0, 0, 2], [0, 1, 0]], {}),
    ([row(1, 9, [5, 0, 10, 10])], [[0, 1, 0], [0, 0, 2], [0, 0, 0]], dict(tp_iou_thr=0.3)),
    ([row(1, 4, [50, 50, 10, 10])], [[0, 0, 1], [0, 0, 2], [0, 0, 0]], {}),
])
def test_counts(rows, expected, settings):
    assert confusion_matrix(Records(), rows, **settings).counts.tolist() == expected


@pytest.mark.parametrize(('rows', 'text'), [
    ([row(1, 5, [0, 0, 1, 1])], 'category id 5; the data set has 4, 9'),
    ([row(3, 4, [0, 0, 1, 1])], 'image id 3 and 0 more'),
])
def test_wrong_predictions(rows, text):
    with pytest.raises(ValueError, match=text):
        confusion_matrix(Records(), rows)


def test_table_and_picture(tmp_path):
    matrix = confusion_matrix(Records(), [row(1, 4, [0, 0, 10, 10]), row(2, 4, [0, 0, 10, 10])])
    assert matrix.rows() == [['cat', 1, 1, 0.5, 1.0, '-'], ['dog', 2, 0, -1.0, 0.0, 'cat (1)']]
    assert '| cat   | 1       | 1     | 0.500     | 1.000' in matrix.table()
    first, second = (cv2.imread(str(draw_matrix(matrix, tmp_path / f'{theme}.png', color_theme=theme, title='t')))
                     for theme in ('Blues', 'plasma'))
    assert first.std() > 10 and (first != second).any()


@pytest.fixture
def predictions(shapes, tmp_path):
    """Perfect predictions for the drawn shapes, but squares are taken for circles."""
    dataset = DATASETS.build(shapes.test_dataloader.dataset)
    rows = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        for one in info['instances']:
            x0, y0, x1, y1 = (float(side) for side in one['bbox'])
            label = 0 if one['bbox_label'] == 1 else one['bbox_label']
            rows.append(row(info['img_id'], dataset.metainfo['category_ids'][label], [x0, y0, x1 - x0, y1 - y0]))
    path = tmp_path / 'predictions.json'
    path.write_text(json.dumps(rows))
    return path


def test_from_predictions(shapes, predictions, tmp_path, capsys):
    matrix = run(shapes, predictions=predictions, output_dir=tmp_path / 'out')
    assert matrix.counts[1, 1] == 0 and matrix.counts[1, 0] == matrix.counts[1].sum() > 0
    assert (np.diag(matrix.counts)[2:-1] == matrix.counts[2:-1].sum(axis=1)).all()
    written = json.loads((tmp_path / 'out' / 'confusion_matrix.json').read_text())
    assert written['classes'][-1] == 'background' and written['counts'] == matrix.counts.tolist()
    assert (tmp_path / 'out' / 'confusion_matrix.png').stat().st_size > 5000
    assert 'most often taken for' in capsys.readouterr().out


def test_from_a_checkpoint(shapes, predictions, tmp_path):
    torch.manual_seed(0)
    shapes.model.swap = 1
    save_checkpoint(dict(meta={}, state_dict=MODELS.build(shapes.model).state_dict()), tmp_path / 'model.pth')
    matrix = run(shapes, checkpoint=tmp_path / 'model.pth', output_dir=tmp_path / 'out')
    expected = run(shapes, predictions=predictions, output_dir=tmp_path / 'other')
    assert matrix.counts.tolist() == expected.counts.tolist()


@pytest.mark.parametrize(('settings', 'error', 'text'), [
    ({}, ValueError, 'either predictions'),
    (dict(predictions='a', checkpoint='b'), ValueError, 'either predictions'),
    (dict(predictions='nowhere.json'), FileNotFoundError, 'no such prediction file'),
])
def test_wrong_settings(shapes, tmp_path, settings, error, text):
    with pytest.raises(error, match=text):
        run(shapes, output_dir=tmp_path, **settings)
