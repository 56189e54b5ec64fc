import numpy as np
import pytest

from maskforge.evaluation import CocoMetric, VOCMetric
from maskforge.registry import METRICS


def direct_voc(data, samples, ids, thr, mode):
    """VOC's procedure class by class over the whole data set, on COCO records; crowds are difficult objects."""
    aps = []
    for label, category in enumerate(ids):
        truths = {image['id']: [] for image in data['images']}
        for row in data['annotations']:
            if row['category_id'] == category:
                truths[row['image_id']].append(dict(box=row['bbox'], hard=row['iscrowd'], used=False))
        positives = sum(not t['hard'] for rows in truths.values() for t in rows)
        if positives == 0:
            continue
        found = [(float(s), one.img_id, box.double().numpy()) for one in samples
                 for box, s, k in zip(one.pred_instances.bboxes, one.pred_instances.scores, one.pred_instances.labels)
                 if k == label]
        hits = []
        for _, image, box in sorted(found, key=lambda row: -row[0]):
            best, target = -1.0, None
            for truth in truths[image]:
                x, y, w, h = truth['box']
                width = min(box[2], x + w) - max(box[0], x)
                height = min(box[3], y + h) - max(box[1], y)
                shared = max(width, 0) * max(height, 0)
                iou = shared / (w * h + (box[2] - box[0]) * (box[3] - box[1]) - shared)
                if iou > best:
                    best, target = iou, truth
            if best >= thr and target['hard']:
                continue
            hits.append(best >= thr and not target['used'])
            if hits[-1]:
                target['used'] = True
        recall, precision = np.cumsum(hits) / positives, np.cumsum(hits) / np.arange(1, len(hits) + 1)
        if mode == '11points':
            aps.append(np.mean([max(precision[recall >= t - 1e-12], default=0) for t in np.linspace(0, 1, 11)]))
        else:
            aps.append(sum((r - q) * precision[i:].max() for i, (q, r) in enumerate(zip([0, *recall], recall))))
    return float(np.mean(aps))


@pytest.mark.parametrize('mode', ['11points', 'area'])
@pytest.mark.parametrize('thr', [0.3, 0.5, 0.7])
def test_equals_direct_implementation(data, noisy, meta, run, with_truth, mode, thr):
    # scores without ties: their order is not defined by the rules
    for number, one in enumerate(noisy):
        one.pred_instances.scores += 0.0001 * number
    expected = direct_voc(data, noisy, meta['category_ids'], thr, mode)
    metric = METRICS.build(dict(type='VOCMetric', metric='mAP', iou_thrs=thr, eval_mode=mode))
    values = run(metric, with_truth(noisy), meta)
    assert values['pascal_voc/mAP'] == pytest.approx(expected, abs=1e-6)
    assert 0 < expected < 1


def test_several_thresholds(noisy, meta, run, with_truth):
    values = run(VOCMetric([0.5, 0.75]), with_truth(noisy), meta)
    assert set(values) == {'pascal_voc/mAP', 'pascal_voc/AP50', 'pascal_voc/AP75'}
    assert values['pascal_voc/mAP'] == pytest.approx((values['pascal_voc/AP50'] + values['pascal_voc/AP75']) / 2)


def test_beside_coco_on_the_same_samples(ann_file, perfect, meta, run, with_truth):
    samples = with_truth(perfect)
    assert run(VOCMetric(), samples, meta)['pascal_voc/mAP'] == pytest.approx(1.0)
    assert run(CocoMetric(ann_file), samples, meta)['coco/bbox_mAP'] == pytest.approx(1.0)


def test_without_class_names(perfect, run, with_truth):
    assert run(VOCMetric(), with_truth(perfect), {})['pascal_voc/mAP'] == pytest.approx(1.0)


def test_legacy_coordinates_change_the_overlap(noisy, meta, run, with_truth):
    samples = with_truth(noisy)
    plain, legacy = (run(VOCMetric(np.linspace(0.5, 0.95, 10).tolist(), use_legacy_coordinate=flag), samples, meta)
                     for flag in (False, True))
    assert plain['pascal_voc/mAP'] != legacy['pascal_voc/mAP']


@pytest.mark.parametrize(('settings', 'text'), [
    (dict(iou_thrs=0.0), r'must lie in \(0, 1\]'),
    (dict(eval_mode='9points'), 'area, 11points'),
    (dict(metric='recall'), "CocoMetric\\(metric='proposal'\\)"),
])
def test_wrong_settings(settings, text):
    with pytest.raises(ValueError, match=text):
        VOCMetric(**settings)


def test_no_truth(perfect, meta, run):
    with pytest.raises(ValueError, match='no ground truth'):
        run(VOCMetric(), perfect, meta)
