import pytest
import torch
from torch.nn import functional as F

from maskforge.losses import CrossEntropyLoss, one_hot


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_softmax_equals_torch():
    scores, labels, weight = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 3, 0]), torch.rand(6)
    assert CrossEntropyLoss()(scores, labels) == pytest.approx(F.cross_entropy(scores, labels).item())
    want = 2 * (F.cross_entropy(scores, labels, reduction='none') * weight).sum() / 3
    assert CrossEntropyLoss(loss_weight=2)(scores, labels, weight, avg_factor=3).item() == pytest.approx(want.item())


def test_ignored_labels_and_class_weights():
    scores, labels = torch.randn(4, 3), torch.tensor([0, 255, 2, 255])
    loss = CrossEntropyLoss(ignore_index=255, avg_non_ignore=True)(scores, labels)
    assert loss.item() == pytest.approx(F.cross_entropy(scores[[0, 2]], labels[[0, 2]]).item())
    weighted = CrossEntropyLoss(class_weight=[0.0, 1.0, 0.0], reduction='sum')(scores, torch.tensor([0, 2, 0, 2]))
    assert weighted.item() == 0


def test_sigmoid_takes_indices_with_a_background():
    scores, labels = torch.randn(3, 2), torch.tensor([0, 1, 2])
    target = torch.tensor([[1.0, 0], [0, 1], [0, 0]])
    want = F.binary_cross_entropy_with_logits(scores, target)
    assert CrossEntropyLoss(use_sigmoid=True)(scores, labels).item() == pytest.approx(want.item())
    assert CrossEntropyLoss(use_sigmoid=True)(scores, target).item() == pytest.approx(want.item())
    assert one_hot(labels, 2).tolist() == target.bool().tolist()


def test_mask_loss_is_a_mean_over_pixels_and_zero_for_none():
    scores, target = torch.randn(2, 4, 4), torch.rand(2, 4, 4).round()
    loss = CrossEntropyLoss(use_mask=True)
    assert loss(scores, target).item() == pytest.approx(F.binary_cross_entropy_with_logits(scores, target).item())
    empty = torch.zeros(0, 4, 4, requires_grad=True)
    loss(empty, torch.zeros(0, 4, 4)).backward()
    assert empty.grad is not None


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_scores_give_a_float32_loss(dtype):
    scores = torch.tensor([[60.0, -60.0]], dtype=dtype)
    loss = CrossEntropyLoss()(scores, torch.tensor([1]))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(120)


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(use_sigmoid=True, use_mask=True), 'exclude each other'), (dict(reduction='avg'), "reduction='avg'")])
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CrossEntropyLoss(**arguments)
