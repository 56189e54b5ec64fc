import pytest
import torch

from maskforge.models.sam2.stability import stability_scores


def test_stability_is_the_iou_of_two_thresholds():
    logits = torch.tensor([[[2., .3, -.3, -2.]], [[-2., -2., -2., -2.]], [[-.1, -.1, -.1, -.1]]])
    assert stability_scores(logits, delta=1.).tolist() == pytest.approx([1 / 3, 1., 0.])
    assert stability_scores(logits, delta=.05).tolist() == [1., 1., 1.]
    assert stability_scores(logits, delta=1., mask_threshold=1.).tolist() == [0., 1., 1.]
