import pytest
import torch

from maskforge.models.mask_rcnn import matching
from maskforge.models.mask_rcnn.matching import BACKGROUND, IGNORED, MaxIoUAssigner
from maskforge.ops import box_iou
from maskforge.registry import TASK_UTILS


def reference(boxes, truth, *, pos, neg, least, low_quality, assign_all):
    """The rules of MMDetection's assigner, box by box."""
    overlaps = box_iou(truth, boxes)
    matches = []
    for column in overlaps.T:
        best = column.argmax().item()
        matches.append(best if column[best] >= pos else BACKGROUND if column[best] < neg else IGNORED)
    if low_quality:
        for row, values in enumerate(overlaps):
            top = values.max()
            if top >= least:
                claimed = (values == top).nonzero()[:, 0].tolist()
                for index in claimed if assign_all else claimed[:1]:
                    matches[index] = row
    return matches


def random_boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    # whole numbers: equal overlaps happen
    corner = torch.randint(0, 30, (count, 2), generator=generator)
    return torch.cat((corner, corner + torch.randint(5, 20, (count, 2), generator=generator)), dim=1).float()


@pytest.mark.parametrize('low_quality', [True, False])
@pytest.mark.parametrize('assign_all', [True, False])
@pytest.mark.parametrize('pairs', [2**26, 40])
def test_equals_the_rules_box_by_box(low_quality, assign_all, pairs, monkeypatch):
    monkeypatch.setattr(matching, 'MAX_PAIRS', pairs)  # 40: ten boxes at a time
    for seed in range(10):
        boxes, truth = random_boxes(60, seed), random_boxes(4, seed + 100)
        assigner = MaxIoUAssigner(0.6, 0.3, min_pos_iou=0.2, match_low_quality=low_quality,
                                  gt_max_assign_all=assign_all)
        want = reference(boxes, truth, pos=0.6, neg=0.3, least=0.2, low_quality=low_quality, assign_all=assign_all)
        assert assigner.assign(boxes, truth).tolist() == want


def test_nothing_true_is_all_background_and_no_boxes_are_no_matches():
    assigner = TASK_UTILS.build(dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5))
    assert assigner.assign(random_boxes(3, 0), torch.zeros(0, 4)).tolist() == [BACKGROUND] * 3
    assert assigner.assign(torch.zeros(0, 4), random_boxes(3, 0)).shape == (0,)


def test_boxes_inside_a_crowd_are_left_out_with_and_without_other_objects():
    boxes = torch.tensor([[0., 0, 10, 10], [50, 50, 60, 60], [8, 0, 18, 10]])
    crowd = torch.tensor([[0., 0, 11, 11]])
    assigner = MaxIoUAssigner(0.5, 0.5, ignore_iof_thr=0.5)
    assert assigner.assign(boxes, torch.zeros(0, 4), crowd).tolist() == [IGNORED, BACKGROUND, BACKGROUND]
    assert assigner.assign(boxes, boxes[1:2], crowd).tolist() == [IGNORED, 0, BACKGROUND]
    of_region = MaxIoUAssigner(0.5, 0.5, ignore_iof_thr=0.9, ignore_wrt_candidates=False)
    assert of_region.assign(boxes, torch.zeros(0, 4), crowd).tolist() == [BACKGROUND] * 3
    off = MaxIoUAssigner(0.5, 0.5)
    assert off.assign(boxes, torch.zeros(0, 4), crowd).tolist() == [BACKGROUND] * 3


def test_a_range_of_negatives():
    boxes, truth = torch.tensor([[0., 0, 10, 10], [0, 0, 10, 3], [50, 50, 60, 60]]), torch.tensor([[0., 0, 10, 10]])
    assert MaxIoUAssigner(0.5, (0.1, 0.5)).assign(boxes, truth).tolist() == [0, BACKGROUND, IGNORED]
