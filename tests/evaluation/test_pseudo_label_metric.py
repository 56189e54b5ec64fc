import numpy as np
import pytest
import torch

from maskforge.evaluation import PseudoLabelMetric
from maskforge.structures import InstanceMasks

SIZE = (200, 200)
META = dict(classes=('a', 'b'), category_ids=(1, 2))


def sample(ann_id, box, found, true, label, score=0.9, image=1):
    """``found`` and ``true`` are boxes that stand for masks."""
    def masks(where):
        bitmap = np.zeros((1, *SIZE), bool)
        bitmap[0, where[1]:where[3], where[0]:where[2]] = True
        return InstanceMasks.from_bitmaps(bitmap)
    return dict(img_id=image, img_path=f'{image}.jpg', ann_id=ann_id, ori_shape=SIZE, box=box,
                box_area=(box[2] - box[0]) * (box[3] - box[1]),
                pred_instances=dict(masks=masks(found), scores=torch.tensor([score])),
                gt_instances=dict(masks=masks(true), labels=torch.tensor([label])))


SAMPLES = [
    sample(1, (0, 0, 20, 20), (0, 0, 20, 10), (0, 0, 20, 20), 0),  # small: 0.5, the box 1
    sample(2, (0, 0, 50, 50), (0, 0, 50, 50), (0, 0, 50, 25), 0),  # medium: 0.5, the box 0.5
    sample(3, (0, 0, 100, 100), (0, 0, 100, 100), (0, 0, 100, 100), 1, image=2),  # large: 1, the box 1
]


def score(metric, samples):
    metric.dataset_meta = META
    metric.process(None, samples)
    return {name.removeprefix('mal/'): value for name, value in metric.evaluate(len(samples)).items()}


def test_every_object_counts_for_its_own_class_and_size():
    values = score(PseudoLabelMetric(classwise=True), SAMPLES)
    assert values['mIoU'] == pytest.approx((0.5 + 1) / 2) and values['IoU'] == pytest.approx(2 / 3)
    assert values['box_mIoU'] == pytest.approx((0.75 + 1) / 2)
    assert (values['mIoU_small'], values['mIoU_medium'], values['mIoU_large']) == (0.5, 0.5, 1)
    assert (values['a_IoU'], values['b_IoU']) == (0.5, 1)


@pytest.mark.parametrize('side, name', [(32, 'medium'), (96, 'large'), (31, 'small'), (95, 'medium')])
def test_sizes_are_half_open(side, name):
    one = sample(1, (0, 0, side, side), (0, 0, side, side), (0, 0, side, side), 0)
    assert f'mIoU_{name}' in score(PseudoLabelMetric(mask_ap=False), [one])


def test_mask_ap_of_perfect_masks_is_one_and_can_be_left_out():
    perfect = [sample(i, s['box'], s['box'], s['box'], int(s['gt_instances']['labels'][0]), image=s['img_id'])
               for i, s in enumerate(SAMPLES)]
    values = score(PseudoLabelMetric(), perfect)
    assert values['mask_AP'] == values['mask_AP50'] == pytest.approx(1)
    assert 'mask_AP' not in score(PseudoLabelMetric(mask_ap=False), perfect)
    assert 0 < score(PseudoLabelMetric(), SAMPLES)['mask_AP'] < 1


def test_a_box_that_two_processes_saw_counts_once():
    values = score(PseudoLabelMetric(), [*SAMPLES, SAMPLES[0]])
    assert values['IoU'] == pytest.approx(2 / 3)


def test_missing_truth():
    bare = {**SAMPLES[0], 'gt_instances': dict(labels=torch.tensor([0]))}
    with pytest.raises(ValueError, match='annotation 1: there is no true mask to compare with; set load_mask=True'):
        PseudoLabelMetric().process(None, [bare])
