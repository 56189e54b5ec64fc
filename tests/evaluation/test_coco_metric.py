import contextlib
import io
import json
import sys

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskforge.evaluation import CocoMetric
from maskforge.registry import METRICS
from maskforge.structures import DetDataSample, InstanceMasks


def oracle(data, result_file, kind, max_dets=None):
    """pycocotools called directly, on annotation ids that it counts right: its summary, or AP at ``max_dets``."""
    data = json.loads(json.dumps(data))
    for number, row in enumerate(data['annotations'], start=1):
        row['id'] = number
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = data
        gt.createIndex()
        run = COCOeval(gt, gt.loadRes(str(result_file)), kind)
        run.params.maxDets = [max_dets] if max_dets else [1, 10, 100]
        run.evaluate()
        run.accumulate()
        if max_dets:
            precision = run.eval['precision'][:, :, :, 0, -1]
            return precision[precision > -1].mean()
        run.summarize()
    return run.stats


@pytest.mark.parametrize('backend', ['pycocotools', 'faster_coco_eval'])
def test_equals_pycocotools(ann_file, data, noisy, meta, run, tmp_path, backend):
    if backend != 'pycocotools':
        pytest.importorskip('faster_coco_eval')
    metric = METRICS.build(dict(type='CocoMetric', ann_file=str(ann_file), metric=['bbox', 'segm'], backend=backend,
                                proposal_nums=(1, 10, 100), outfile_prefix=str(tmp_path / 'out')))
    values = run(metric, noisy, meta)
    for kind in ('bbox', 'segm'):
        stats = oracle(data, tmp_path / f'out.{kind}.json', kind)
        found = [values[f'coco/{kind}_{item}'] for item in ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')]
        np.testing.assert_allclose(found, stats[:6], atol=1e-12)
        assert 0.05 < found[0] < 0.95


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_perfect_predictions_score_one_with_ids_from_zero(ann_file, perfect, meta, run, kind):
    values = run(CocoMetric(ann_file, kind), perfect, meta)
    assert values[f'coco/{kind}_mAP'] == pytest.approx(1.0)


def test_truth_of_samples_equals_truth_of_file(ann_file, noisy, meta, run, with_truth):
    from_file = run(CocoMetric(ann_file, ['bbox', 'segm']), noisy, meta)
    from_samples = run(CocoMetric(metric=['bbox', 'segm']), with_truth(noisy), meta)
    assert from_samples == pytest.approx(from_file, abs=1e-6)


def test_truth_of_records_equals_truth_of_file(ann_file, data, noisy, meta, run):
    for one, image in zip(noisy, data['images']):
        rows = [a for a in data['annotations'] if a['image_id'] == image['id']]
        one.set_metainfo(dict(instances=[dict(
            bbox=[a['bbox'][0], a['bbox'][1], a['bbox'][0] + a['bbox'][2], a['bbox'][1] + a['bbox'][3]],
            bbox_label=meta['category_ids'].index(a['category_id']), ignore_flag=a['iscrowd'], mask=a['segmentation'])
            for a in rows]))
    assert run(CocoMetric(metric='segm'), noisy, meta) == pytest.approx(run(CocoMetric(ann_file, 'segm'), noisy, meta))


@pytest.mark.parametrize('nums', [1, 2, [3], [1, 10, 100], (100, 300, 1000)])
def test_any_detection_counts(ann_file, data, noisy, meta, run, tmp_path, nums):
    metric = CocoMetric(ann_file, proposal_nums=nums, outfile_prefix=tmp_path / 'out')
    value = run(metric, noisy, meta)['coco/bbox_mAP']
    largest = nums if isinstance(nums, int) else max(nums)
    assert value == pytest.approx(oracle(data, tmp_path / 'out.bbox.json', 'bbox', largest))


def test_fewer_detections_count_less(ann_file, noisy, meta, run):
    few, many = (run(CocoMetric(ann_file, proposal_nums=n), noisy, meta)['coco/bbox_mAP'] for n in (1, 100))
    assert few < many


def test_iou_thresholds(ann_file, noisy, meta, run):
    values = run(CocoMetric(ann_file, iou_thrs=[0.5, 0.75]), noisy, meta)
    assert values['coco/bbox_mAP'] == pytest.approx((values['coco/bbox_mAP_50'] + values['coco/bbox_mAP_75']) / 2)
    only = run(CocoMetric(ann_file, iou_thrs=0.5), noisy, meta)
    assert only['coco/bbox_mAP'] == values['coco/bbox_mAP_50']
    assert 'coco/bbox_mAP_75' not in only


def test_metric_items_and_prefix(ann_file, noisy, meta, run):
    metric = CocoMetric(ann_file, metric_items=['mAP_50', 'AR@100'], prefix='mine')
    values = run(metric, noisy, meta)
    assert list(values) == ['mine/bbox_mAP_50', 'mine/bbox_AR@100']
    assert values['mine/bbox_AR@100'] > 0


def test_classwise(ann_file, noisy, meta, run):
    values = run(CocoMetric(ann_file, classwise=True), noisy, meta)
    per_class = [values[f'coco/{name}_precision'] for name in meta['classes']]
    assert values['coco/bbox_mAP'] == pytest.approx(np.mean([value for value in per_class if value > -1]))
    both = run(CocoMetric(ann_file, ['bbox', 'segm'], classwise=True), noisy, meta)
    assert both['coco/bbox_ball_precision'] == pytest.approx(per_class[0])
    assert 'coco/segm_ball_precision' in both


def test_proposals_ignore_classes(ann_file, perfect, meta, run):
    for one in perfect:
        one.pred_instances.labels[:] = 0
    values = run(CocoMetric(ann_file, 'proposal', proposal_nums=(1, 100)), perfect, meta)
    assert values['coco/AR@100'] == pytest.approx(1.0)
    assert values['coco/AR@1'] < 1
    assert set(values) == {'coco/AR@1', 'coco/AR@100', 'coco/AR_s@100', 'coco/AR_m@100', 'coco/AR_l@100'}


def test_no_detections_score_zero(ann_file, data, meta, run):
    values = run(CocoMetric(ann_file, ['bbox', 'segm']), list(_empty(data)), meta)
    assert values['coco/bbox_mAP'] == values['coco/segm_mAP'] == 0
    assert values['coco/bbox_mAP_l'] == -1


def test_no_truth_scores_minus_one(tmp_path, data, noisy, meta, run):
    data['annotations'] = []
    path = tmp_path / 'empty.json'
    path.write_text(json.dumps(data))
    assert run(CocoMetric(path), noisy, meta)['coco/bbox_mAP'] == -1


def _empty(data):
    for image in data['images']:
        one = DetDataSample(metainfo=dict(img_id=image['id'], img_path=image['file_name'], ori_shape=(90, 120)))
        one.pred_instances = InstanceData(bboxes=torch.zeros(0, 4), scores=torch.zeros(0),
                                          labels=torch.zeros(0, dtype=torch.long), masks=InstanceMasks([], 90, 120))
        yield one


def test_format_only_writes_original_ids(perfect, meta, run, tmp_path):
    metric = CocoMetric(metric=['bbox', 'segm'], format_only=True, outfile_prefix=tmp_path / 'sub' / 'out')
    assert run(metric, perfect, meta) == {}
    boxes = json.loads((tmp_path / 'sub' / 'out.bbox.json').read_text())
    masks = json.loads((tmp_path / 'sub' / 'out.segm.json').read_text())
    assert {row['category_id'] for row in boxes} <= {0, 7, 3}
    assert {row['image_id'] for row in boxes} == {0, 5, 10}
    assert set(masks[0]) == {'image_id', 'category_id', 'score', 'segmentation'}
    assert not list(tmp_path.rglob('*.partial'))


def test_dense_masks_of_other_models(ann_file, perfect, meta, run):
    for one in perfect:
        masks = torch.from_numpy(one.pred_instances.masks.to_bitmaps())
        fields = dict(one.pred_instances.items())
        one.pred_instances = InstanceData(**{**fields, 'masks': masks})
    assert run(CocoMetric(ann_file, 'segm'), perfect, meta)['coco/segm_mAP'] == pytest.approx(1.0)


def test_mask_scores_rank_masks_only(ann_file, noisy, meta, run):
    plain = run(CocoMetric(ann_file, ['bbox', 'segm']), noisy, meta)
    for one in noisy:
        one.pred_instances.mask_scores = 1 - one.pred_instances.scores
    scored = run(CocoMetric(ann_file, ['bbox', 'segm']), noisy, meta)
    assert scored['coco/bbox_mAP'] == plain['coco/bbox_mAP']
    assert scored['coco/segm_mAP'] != plain['coco/segm_mAP']


def test_categories_without_metainfo_are_in_the_order_of_ids(ann_file, perfect, meta, run):
    label_by_id = [0, 2, 1]
    for one in perfect:
        one.pred_instances.labels = torch.tensor(label_by_id)[one.pred_instances.labels]
    assert run(CocoMetric(ann_file, sort_categories=True), perfect, {})['coco/bbox_mAP'] == pytest.approx(1.0)


def test_unsorted_categories_are_warned_of(monkeypatch):
    said = []
    monkeypatch.setattr('maskforge.evaluation.coco_metric.print_log', lambda text, *args, **kwargs: said.append(text))
    CocoMetric(sort_categories=False)
    assert 'sort_categories=False has no effect' in said[0]


@pytest.mark.parametrize(('settings', 'error', 'text'), [
    (dict(metric='boxes'), ValueError, "'boxes' is not one of bbox, segm, proposal"),
    (dict(metric='segmm'), ValueError, 'Did you mean segm'),
    (dict(metric_items=['mAP_500']), ValueError, 'Did you mean mAP_50'),
    (dict(proposal_nums=0), ValueError, 'proposal_nums=0'),
    (dict(iou_thrs=[0.5, 1.5]), ValueError, r'must lie in \(0, 1\]'),
    (dict(format_only=True), ValueError, 'outfile_prefix'),
    (dict(backend='coco'), ValueError, "'pycocotools', 'faster_coco_eval'"),
    (dict(ann_file='nowhere.json'), FileNotFoundError, 'nowhere.json does not exist'),
    (dict(collect_device='tpu'), ValueError, "'cpu', 'gpu'"),
])
def test_wrong_settings(settings, error, text):
    with pytest.raises(error, match=text):
        CocoMetric(**settings)


def test_missing_backend_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, 'faster_coco_eval', None)
    with pytest.raises(ImportError, match=r'pip install maskforge\[fast\]'):
        CocoMetric(backend='faster_coco_eval')


def test_unknown_image(ann_file, perfect, meta, run):
    perfect[1].set_metainfo(dict(img_id=999))
    with pytest.raises(ValueError, match=r'instances.json has no image with id 999 \(1.jpg\).*1 of 4'):
        run(CocoMetric(ann_file), perfect, meta)


def test_label_beyond_the_classes(ann_file, perfect, meta, run):
    perfect[0].pred_instances.labels[0] = 80
    with pytest.raises(ValueError, match=r'class index 80 is outside 0 .. 2.*num_classes'):
        run(CocoMetric(ann_file), perfect, meta)


def test_segm_without_masks(ann_file, perfect, meta, run):
    for one in perfect:
        del one.pred_instances.masks
    with pytest.raises(ValueError, match="metric='bbox'"):
        run(CocoMetric(ann_file, 'segm'), perfect, meta)


def test_segm_of_boxes_only_truth(ann_file, data, perfect, meta, run):
    for row in data['annotations']:
        if not row['iscrowd']:
            row.pop('segmentation')
    ann_file.write_text(json.dumps(data))
    with pytest.raises(ValueError, match='without a segmentation'):
        run(CocoMetric(ann_file, 'segm'), perfect, meta)


def test_no_truth_at_all(perfect, meta, run):
    with pytest.raises(ValueError, match='ann_file, or keep LoadAnnotations'):
        run(CocoMetric(), perfect, meta)


def test_no_predictions(ann_file, perfect, meta, run):
    del perfect[0].pred_instances
    with pytest.raises(ValueError, match='no pred_instances'):
        run(CocoMetric(ann_file), perfect, meta)


def test_nothing_is_printed(ann_file, noisy, meta, run, capsys):
    metric = CocoMetric(ann_file, ['bbox', 'segm'])
    capsys.readouterr()
    run(metric, noisy, meta)
    assert 'Accumulating' not in capsys.readouterr().out


def test_evaluating_twice_gives_the_same(ann_file, noisy, meta, run):
    metric = CocoMetric(ann_file, ['bbox', 'segm'])
    assert run(metric, noisy, meta) == run(metric, noisy, meta)
