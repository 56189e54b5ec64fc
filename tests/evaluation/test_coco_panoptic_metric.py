import json

import numpy as np
import pytest

from maskforge.evaluation import CocoPanopticMetric
from maskforge.formats.panoptic_json import write_panoptic_json
from maskforge.formats.panoptic_png import read_panoptic_png, write_panoptic_png
from maskforge.structures import PanopticSegmentation

META = dict(classes=('dog', 'sky'), category_ids=(2, 7))


@pytest.fixture
def truth(tmp_path):
    """Two images: a dog of 4 pixels on sky, and sky alone; returns the JSON."""
    maps = [np.array([[9, 9, 300, 300], [9, 9, 300, 300]]), np.full((2, 4), 41)]
    infos = [[dict(id=9, category_id=2, iscrowd=0), dict(id=300, category_id=7, iscrowd=0)],
             [dict(id=41, category_id=7, iscrowd=0)]]
    for number, ids in enumerate(maps, 1):
        write_panoptic_png(ids, tmp_path / 'panoptic' / f'{number}.png')
    write_panoptic_json(
        tmp_path / 'panoptic.json',
        images=[dict(id=n, file_name=f'{n}.jpg', height=2, width=4) for n in (1, 2)],
        annotations=[dict(image_id=n, file_name=f'{n}.png', segments_info=infos[n - 1]) for n in (1, 2)],
        categories=[dict(id=2, name='dog', isthing=1), dict(id=7, name='sky', isthing=0)])
    return tmp_path / 'panoptic.json'


def sample(image, segments, labels):
    return dict(img_id=image, pred_panoptic=PanopticSegmentation(np.array(segments, np.int32), np.array(labels)))


PERFECT = [sample(1, [[1, 1, 2, 2], [1, 1, 2, 2]], [0, 1]), sample(2, [[1] * 4] * 2, [1])]


def score(metric, samples):
    metric.dataset_meta = META
    metric.process(None, samples)
    return metric.evaluate(2)


def test_perfect_predictions_score_one(truth):
    values = score(CocoPanopticMetric(truth, classwise=True), PERFECT)
    assert {name: values[f'coco_panoptic/{name}'] for name in (
        'PQ', 'SQ', 'RQ', 'PQ_th', 'PQ_st', 'dog_PQ', 'sky_PQ')} == dict.fromkeys(
        ('PQ', 'SQ', 'RQ', 'PQ_th', 'PQ_st', 'dog_PQ', 'sky_PQ'), 1.0)


def test_things_and_stuff_are_told_apart(truth):
    """The dog is found by 3 of 4 pixels; sky is called dog in image 2."""
    values = score(CocoPanopticMetric(truth), [sample(1, [[1, 1, 2, 2], [1, 0, 2, 2]], [0, 1]),
                                               sample(2, [[1] * 4] * 2, [0])])
    assert values['coco_panoptic/PQ_th'] == pytest.approx(0.75 / 1.5)
    assert values['coco_panoptic/PQ_st'] == pytest.approx(1 / 1.5)
    assert values['coco_panoptic/PQ'] == pytest.approx((0.75 + 1) / 3)


def test_result_files_score_the_same(truth, tmp_path):
    metric = CocoPanopticMetric(truth, outfile_prefix=tmp_path / 'out' / 'run')
    score(metric, PERFECT)
    content = json.loads((tmp_path / 'out' / 'run.panoptic.json').read_text())
    assert [s['category_id'] for s in content['annotations'][0]['segments_info']] == [2, 7]
    assert [s['area'] for s in content['annotations'][0]['segments_info']] == [4, 4]
    assert read_panoptic_png(tmp_path / 'out' / 'run.panoptic' / '1.png').tolist() == [[1, 1, 2, 2]] * 2
    again = CocoPanopticMetric(tmp_path / 'out' / 'run.panoptic.json')
    assert score(again, PERFECT)['coco_panoptic/PQ'] == 1


def test_format_only_needs_no_truth_pngs(truth, tmp_path):
    metric = CocoPanopticMetric(truth, 'nowhere', format_only=True, outfile_prefix=tmp_path / 'run')
    assert score(metric, PERFECT) == {} and (tmp_path / 'run.panoptic.json').exists()


@pytest.mark.parametrize('change, message', [
    (dict(img_id=8), 'image 8 is not in'),
    (dict(pred_panoptic=PanopticSegmentation(np.ones((3, 4), np.int32), np.array([0]))), '4 x 3 pixels, the truth 4 x'),
    (dict(pred_panoptic=PanopticSegmentation(np.ones((2, 4), np.int32), np.array([2]))), 'class index 2 is outside'),
])
def test_bad_predictions(truth, change, message):
    metric = CocoPanopticMetric(truth)
    metric.dataset_meta = META
    with pytest.raises(ValueError, match=message):
        metric.process(None, [{**PERFECT[0], **change}])


def test_a_model_of_another_mode(truth):
    with pytest.raises(ValueError, match=r'image 1: the data sample has no pred_panoptic.*model\.mode'):
        CocoPanopticMetric(truth).process(None, [dict(img_id=1)])


def test_class_that_the_truth_does_not_list(truth):
    metric = CocoPanopticMetric(truth)
    metric.dataset_meta = dict(category_ids=(2, 99))
    with pytest.raises(ValueError, match='category id 99 was predicted'):
        metric.process(None, [PERFECT[0]])


def test_bad_settings(truth, tmp_path):
    with pytest.raises(FileNotFoundError, match='set seg_prefix'):
        CocoPanopticMetric(truth, tmp_path / 'elsewhere')
    with pytest.raises(ValueError, match='outfile_prefix'):
        CocoPanopticMetric(truth, format_only=True)
