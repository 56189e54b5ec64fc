import cv2
import numpy as np
import pytest
import torch

from maskforge.evaluation import IoUMetric
from maskforge.evaluation.iou_metric import count_pixels
from maskforge.formats.panoptic_json import write_panoptic_json
from maskforge.formats.panoptic_png import write_panoptic_png

META = dict(classes=('a', 'b', 'c'))
TRUTH = np.array([[0, 0, 1, 1], [255, 0, 1, 1]])
FOUND = np.array([[0, 1, 1, 1], [2, 0, 1, 0]])


def sample(truth, found, **meta):
    return dict(img_id=1, img_path='x/1.jpg', pred_sem_seg=dict(sem_seg=torch.tensor(found)[None]),
                gt_sem_seg=dict(sem_seg=torch.tensor(truth)[None]), **meta)


def score(metric, *samples):
    metric.dataset_meta = META
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def test_hand_values():
    """Without the ignored pixel: a 2 of (3 predicted, 3 true), b 3 of (4, 4), c does not occur."""
    values = score(IoUMetric(iou_metrics=['mIoU', 'mDice', 'mFscore'], classwise=True), sample(TRUTH, FOUND))
    assert values['aAcc'] == pytest.approx(5 / 7)
    assert values['mIoU'] == pytest.approx((2 / 4 + 3 / 5) / 2)
    assert values['mAcc'] == pytest.approx((2 / 3 + 3 / 4) / 2)
    assert values['mDice'] == values['mFscore'] == pytest.approx((4 / 6 + 6 / 8) / 2)
    assert values['a_IoU'] == pytest.approx(0.5) and np.isnan(values['c_IoU'])


def test_truth_from_a_png_with_zero_as_ignored(tmp_path):
    stored = np.where(TRUTH == 255, 0, TRUTH + 1).astype(np.uint8)
    cv2.imwrite(str(tmp_path / 'm.png'), stored)
    entry = sample(TRUTH, FOUND, seg_map_path=str(tmp_path / 'm.png'))
    entry.pop('gt_sem_seg')
    metric = IoUMetric(reduce_zero_label=True, output_dir=tmp_path / 'out')
    assert score(metric, entry)['mIoU'] == pytest.approx(0.55)
    assert cv2.imread(str(tmp_path / 'out' / '1.png'), -1).tolist() == (FOUND + 1).tolist()


@pytest.fixture
def panoptic(tmp_path):
    """One image of categories 7, 2 and 5: crowd of 2, void in the middle of the lower row; returns the JSON."""
    write_panoptic_png(np.array([[9, 9, 300, 300], [41, 0, 300, 5]]), tmp_path / 'panoptic' / '1.png')
    infos = [dict(id=9, category_id=2, iscrowd=0), dict(id=300, category_id=7, iscrowd=0),
             dict(id=41, category_id=2, iscrowd=1), dict(id=5, category_id=5, iscrowd=0)]
    write_panoptic_json(
        tmp_path / 'panoptic.json', images=[dict(id=1, file_name='1.jpg', height=2, width=4)],
        annotations=[dict(image_id=1, file_name='1.png', segments_info=infos)],
        categories=[dict(id=k, name=name, isthing=0) for k, name in ((2, 'a'), (7, 'b'), (5, 'unused'))])
    return tmp_path / 'panoptic.json'


def test_truth_from_panoptic_annotations(panoptic):
    """Crowd, void and a category that the data set leaves out do not count: a 1 of (1, 2), b 3 of (4, 3)."""
    metric = IoUMetric(ann_file=panoptic)
    metric.dataset_meta = dict(classes=('b', 'a'), category_ids=(7, 2))
    entry = dict(img_id=1, pred_sem_seg=dict(sem_seg=torch.tensor([[[1, 0, 0, 0], [0, 0, 0, 0]]])))
    metric.process(None, [entry])
    assert metric.evaluate(1)['mIoU'] == pytest.approx((1 / 2 + 3 / 4) / 2)
    with pytest.raises(ValueError, match='has no annotation of image 2'):
        metric.process(None, [{**entry, 'img_id': 2}])


def test_format_only_needs_no_truth(tmp_path):
    entry = sample(TRUTH, FOUND)
    entry.pop('gt_sem_seg')
    assert score(IoUMetric(format_only=True, output_dir=tmp_path), entry) == {}
    assert (tmp_path / '1.png').exists()


@pytest.mark.parametrize('change, message', [
    (dict(gt_sem_seg=dict(sem_seg=torch.zeros(1, 3, 4))), '4 x 2 pixels, the truth 4 x 3'),
    (dict(gt_sem_seg=dict(sem_seg=torch.full((1, 2, 4), 7))), 'class indices from 7 to 7, the data set 3 classes'),
    (dict(pred_sem_seg=dict(sem_seg=torch.full((1, 2, 4), 3))), 'the prediction has class indices'),
    (dict(seg_map_path='nowhere.png'), 'nowhere.png is missing'),
])
def test_bad_samples(change, message):
    metric = IoUMetric()
    metric.dataset_meta = META
    with pytest.raises(ValueError, match=message):
        metric.process(None, [{**sample(TRUTH, FOUND), **change}])


def test_a_model_of_another_mode():
    with pytest.raises(ValueError, match=r"has no pred_sem_seg.*add the metric's mode to it"):
        IoUMetric().process(None, [dict(img_id=1)])


def test_bad_settings():
    with pytest.raises(ValueError, match='allowed are mIoU'):
        IoUMetric(iou_metrics='mIou')
    with pytest.raises(ValueError, match='output_dir'):
        IoUMetric(format_only=True)


def test_counts_ignore_what_is_ignored():
    common, predicted, true = count_pixels(np.array([9, 1]), np.array([0, 1]), 2, ignore_index=9)
    assert (common.tolist(), predicted.tolist(), true.tolist()) == ([0, 1], [0, 1], [0, 1])
