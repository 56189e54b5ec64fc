import pytest
import torch
from torchvision.ops import generalized_box_iou_loss
from torchvision.ops import sigmoid_focal_loss as torchvision_focal

from maskforge.losses import FocalLoss, GIoULoss, paired_giou_loss, sigmoid_focal_loss
from maskforge.registry import MODELS


def some_boxes(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner, size = torch.rand(count, 2, generator=generator), torch.rand(count, 2, generator=generator)
    return torch.cat((corner, corner + size), 1)


@pytest.mark.parametrize(('alpha', 'gamma'), [(0.25, 2), (0.9, 2), (0.25, 0.5), (-1, 2), (0.5, 0)])
def test_focal_equals_torchvision(alpha, gamma):
    torch.manual_seed(0)
    logits, target = torch.randn(7, 5, requires_grad=True), torch.randint(2, (7, 5)).float()
    mine = sigmoid_focal_loss(logits, target, alpha=alpha, gamma=gamma)
    want = torchvision_focal(logits, target, alpha=alpha, gamma=gamma)
    torch.testing.assert_close(mine, want)
    gradients = [torch.autograd.grad(value.sum(), logits, retain_graph=True)[0] for value in (mine, want)]
    torch.testing.assert_close(*gradients)


def test_focal_of_extreme_logits_and_half_precision():
    logits = torch.tensor([[200., -200.]], requires_grad=True)
    value = sigmoid_focal_loss(logits, torch.tensor([[0., 1.]])).sum()
    value.backward()
    assert value.item() == pytest.approx(200 * (0.75 + 0.25)) and logits.grad.isfinite().all()
    assert sigmoid_focal_loss(torch.zeros(1, 1, dtype=torch.float16), torch.zeros(1, 1)).dtype == torch.float32


def test_focal_module_takes_class_indices():
    loss = MODELS.build(dict(type='FocalLoss', alpha=0.3, gamma=1.5, loss_weight=2.0))
    logits, label = torch.randn(4, 3), torch.tensor([0, 2, 3, 1])  # 3 is the background
    target = torch.tensor([[1., 0, 0], [0, 0, 1], [0, 0, 0], [0, 1, 0]])
    want = 2 * sigmoid_focal_loss(logits, target, alpha=0.3, gamma=1.5).sum() / 5
    assert loss(logits, label, avg_factor=5).item() == pytest.approx(want.item())
    assert loss(logits, label, torch.zeros(4)).item() == 0


def test_giou_equals_torchvision():
    pred, target = some_boxes(20, 0).requires_grad_(), some_boxes(20, 1)
    mine, want = paired_giou_loss(pred, target), generalized_box_iou_loss(pred, target)
    torch.testing.assert_close(mine, want)
    gradients = [torch.autograd.grad(value.sum(), pred, retain_graph=True)[0] for value in (mine, want)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(('pred', 'target', 'want'), [
    ([0, 0, 1, 1], [0, 0, 1, 1], 0), ([0, 0, 1, 1], [1, 0, 2, 1], 1), ([0, 0, 1, 1], [3, 0, 4, 1], 1.5),
    ([0, 0, 0, 0], [0, 0, 1, 1], 1)])
def test_giou_by_hand(pred, target, want):
    value = paired_giou_loss(torch.tensor([pred], dtype=torch.float), torch.tensor([target], dtype=torch.float))
    assert value.item() == pytest.approx(want, abs=1e-6)


def test_giou_module_weights_and_empty():
    loss = MODELS.build(dict(type='GIoULoss', loss_weight=3.0))
    pred, target = some_boxes(2, 0), some_boxes(2, 1)
    want = 3 * paired_giou_loss(pred, target)[1] / 4
    assert loss(pred, target, torch.tensor([0., 1.]), avg_factor=4).item() == pytest.approx(want.item())
    nothing = torch.zeros(0, 4, requires_grad=True)
    value = loss(nothing, torch.zeros(0, 4))
    value.backward()
    assert value.item() == 0


@pytest.mark.parametrize(('build', 'message'), [
    (lambda: FocalLoss(use_sigmoid=False), 'only use_sigmoid=True'),
    (lambda: FocalLoss(reduction='x'), "FocalLoss: reduction='x'"),
    (lambda: GIoULoss(reduction='x'), "GIoULoss: reduction='x'")])
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()
