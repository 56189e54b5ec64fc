import torch

from maskforge import ops

BOXES = torch.tensor([[0., 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 5], [50, 50, 60, 60]])
SCORES = torch.tensor([0.6, 0.9, 0.8, 0.7])


def test_a_box_goes_only_above_the_threshold():
    exactly = torch.tensor([[0., 0, 10, 10], [0, 0, 10, 5]])
    kept = ops.grouped_nms(exactly, torch.tensor([0.9, 0.8]), torch.zeros(2, dtype=torch.long), iou_threshold=0.5)
    assert kept.tolist() == [0, 1]  # IoU is 0.5: not above


def test_groups_do_not_suppress_each_other():
    groups = torch.tensor([0, 1, 0, 0])
    assert ops.grouped_nms(BOXES, SCORES, groups, iou_threshold=0.4).tolist() == [1, 2, 3]


def test_the_mask_form_keeps_the_same():
    mask = ops.nms_mask(BOXES, SCORES, iou_threshold=0.7)
    assert mask.nonzero()[:, 0].tolist() == sorted(
        ops.grouped_nms(BOXES, SCORES, torch.zeros(4, dtype=torch.long), iou_threshold=0.7).tolist())


def test_multiclass_equals_a_loop_over_classes():
    torch.manual_seed(0)
    corners = torch.rand(40, 3, 2) * 50
    boxes = torch.cat((corners, corners + 5 + torch.rand(40, 3, 2) * 30), dim=2)
    scores = torch.rand(40, 3)
    got = ops.multiclass_nms(boxes, scores, score_thr=0.3, iou_threshold=0.5, max_per_img=-1)
    want = []
    for label in range(3):
        rows = (scores[:, label] > 0.3).nonzero()[:, 0]
        kept = rows[ops.grouped_nms(boxes[rows, label], scores[rows, label], torch.zeros_like(rows), iou_threshold=0.5)]
        want += [(scores[i, label].item(), label, *boxes[i, label].tolist()) for i in kept]
    found = [(s, c, *b) for s, c, b in zip(got[1].tolist(), got[2].tolist(), got[0].tolist())]
    assert found == sorted(want, reverse=True)
    assert (got[1].diff() <= 0).all()
    limited = ops.multiclass_nms(boxes, scores, score_thr=0.3, iou_threshold=0.5, max_per_img=5)
    assert torch.equal(limited[0], got[0][:5])


def test_one_box_for_all_classes_and_nothing_above_the_threshold():
    got = ops.multiclass_nms(BOXES[:, None], SCORES[:, None].expand(-1, 3), score_thr=0.0, iou_threshold=0.7,
                             max_per_img=100)
    assert len(got[0]) == 9
    none = ops.multiclass_nms(BOXES[:, None], SCORES[:, None], score_thr=2.0, iou_threshold=0.5, max_per_img=100)
    assert [tuple(part.shape) for part in none] == [(0, 4), (0,), (0,)]
