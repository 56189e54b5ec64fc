import pytest
import torch
from torch.nn import functional as F

from maskforge.losses import L1Loss, SmoothL1Loss
from maskforge.registry import MODELS


def test_values_equal_torch():
    torch.manual_seed(0)
    pred, target = torch.randn(5, 4), torch.randn(5, 4)
    assert L1Loss()(pred, target).item() == pytest.approx(F.l1_loss(pred, target).item())
    for beta in (1 / 9, 1):
        want = F.smooth_l1_loss(pred, target, beta=beta, reduction='sum')
        assert SmoothL1Loss(beta=beta)(pred, target, avg_factor=7).item() == pytest.approx(want.item() / 7, rel=1e-5)


def test_weights_of_rows_and_reductions():
    pred, target = torch.ones(3, 4), torch.zeros(3, 4)
    assert L1Loss(reduction='sum', loss_weight=2)(pred, target, torch.tensor([1.0, 0, 0])).item() == 8
    assert L1Loss(reduction='none')(pred, target).shape == (3, 4)


def test_no_boxes_give_zero_with_a_gradient():
    pred = torch.zeros(0, 4, requires_grad=True)
    for loss in (L1Loss(), SmoothL1Loss()):
        value = loss(pred, torch.zeros(0, 4))
        value.backward()
        assert value.item() == 0


@pytest.mark.parametrize(('build', 'message'), [
    (lambda: SmoothL1Loss(beta=0), 'beta must be positive, got 0'),
    (lambda: L1Loss(reduction='average'), "L1Loss: reduction='average'"),
    (lambda: L1Loss(reduction='sum')(torch.ones(1), torch.ones(1), avg_factor=2), 'takes no avg_factor')])
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_the_registry_prefers_ours_to_torchs():
    assert type(MODELS.build(dict(type='L1Loss', loss_weight=1.0))) is L1Loss
    assert type(MODELS.build(dict(type='SmoothL1Loss', beta=1.0))) is SmoothL1Loss
