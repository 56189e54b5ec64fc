import pytest
import torch

from maskforge.models.deformable_detr.postprocess import best_detections, to_detections
from maskforge.structures import DetDataSample


def logit(probability: float) -> float:
    return torch.tensor(probability).logit().item()


def some_case() -> tuple[torch.Tensor, torch.Tensor, list[DetDataSample]]:
    """Image 0 holds nothing above 0.1; image 1 holds 0.9 (class 2), 0.6 and 0.4 (both of query 0)."""
    logits = torch.full((2, 3, 4), logit(0.05))
    logits[1, 1, 2], logits[1, 0, 0], logits[1, 0, 3] = logit(0.9), logit(0.6), logit(0.4)
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.4], [0.25, 0.5, 0.5, 1.0], [0.5, 0.5, 1, 1]]).expand(2, -1, -1)
    samples = [DetDataSample(metainfo=dict(img_shape=(50, 60), ori_shape=shape)) for shape in ((300, 400), (100, 200))]
    return logits, boxes, samples


def test_best_pairs_in_the_original_image():
    _, found = to_detections(*some_case(), num_select=3)
    assert found.labels.tolist() == [2, 0, 3]
    assert found.scores.tolist() == pytest.approx([0.9, 0.6, 0.4])
    want = torch.tensor([[0, 0, 100, 100], [80, 30, 120, 70], [80, 30, 120, 70]])
    torch.testing.assert_close(found.bboxes, want.float())


def test_threshold_keeps_images_in_place():
    first, second = to_detections(*some_case(), num_select=3, conf_threshold=0.5)
    assert len(first) == 0 and first.bboxes.shape == (0, 4)
    assert second.labels.tolist() == [2, 0]


def test_more_asked_than_there_are():
    assert [len(one) for one in to_detections(*some_case(), num_select=100)] == [12, 12]


def test_boxes_are_not_clipped():
    boxes = torch.tensor([[[0.0, 0.5, 0.2, 0.2]]])
    found, _, _ = best_detections(torch.zeros(1, 1, 1), boxes, 1)
    assert found[0, 0].tolist() == pytest.approx([-0.1, 0.4, 0.1, 0.6])


def test_without_an_original_shape_the_image_is_the_frame():
    logits, boxes, _ = some_case()
    [found] = to_detections(logits[1:], boxes[1:], [DetDataSample(metainfo=dict(img_shape=(50, 60)))], num_select=1)
    assert found.bboxes.tolist() == [[0, 0, 30, 50]]
