"""The loss against float64 values by the formulas, written here with loops."""
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from maskforge.models.sam2.criterion import ClipCriterion, DecoderPass, LossSettings
from maskforge.models.sam2.read_settings import read_settings

N, SIDE = 4, 16


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def truths() -> torch.Tensor:
    truth = torch.zeros(N, 1, SIDE, SIDE, dtype=torch.bool)
    truth[0, 0, 2:9, 3:12], truth[1, 0, :, 5:], truth[3, 0, 7, 7] = True, True, True  # the third is absent
    return truth


def decoder_pass(masks: int, *, low: bool = False, seed: int = 0) -> DecoderPass:
    generator = torch.Generator().manual_seed(seed)
    side = SIDE // 4 if low else SIDE
    logits = torch.randn(N, masks, side, side, generator=generator) * 3
    return DecoderPass(logits, torch.rand(N, masks, generator=generator), torch.randn(N, 1, generator=generator))


def expected(found: DecoderPass, truth: torch.Tensor, s: LossSettings) -> np.ndarray:
    sums = np.zeros(4)
    for n in range(len(truth)):
        target = truth[n, 0].double().numpy()
        focal, dice, iou = [], [], []
        for logits in found.logits[n].double().numpy():
            p = sigmoid(logits)
            p_true = np.where(target == 1, p, 1 - p)
            alpha = np.where(target == 1, s.focal_alpha, 1 - s.focal_alpha)
            focal.append((alpha * (1 - p_true) ** s.focal_gamma * -np.log(p_true)).mean())
            dice.append(1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1))
            binary = logits > 0
            iou.append((binary * target).sum() / max(np.maximum(binary, target).sum(), 1))
        error = np.array(found.ious[n].double()) - iou
        error = np.abs(error) if s.iou_use_l1_loss else error**2
        best = int(np.argmin(s.loss_mask * np.array(focal) + s.loss_dice * np.array(dice)))
        present = target.any() or s.pred_obj_scores is False
        if present:
            sums[:3] += focal[best], dice[best], error.mean() if s.supervise_all_iou else error[best]
        if s.pred_obj_scores is not False:
            p = sigmoid(found.object_scores[n].double().item())
            p_true = p if present else 1 - p
            alpha = 1 if s.focal_alpha_obj_score < 0 else (
                s.focal_alpha_obj_score if present else 1 - s.focal_alpha_obj_score)
            sums[3] += alpha * (1 - p_true) ** s.focal_gamma_obj_score * -np.log(p_true)
    return sums


@pytest.mark.parametrize('changes', [
    {}, dict(supervise_all_iou=False), dict(iou_use_l1_loss=False), dict(focal_alpha=0.7), dict(focal_gamma=1.),
    dict(focal_gamma_obj_score=2., focal_alpha_obj_score=0.3), dict(pred_obj_scores=False),
    dict(loss_mask=0.1, loss_dice=50.)])
@pytest.mark.parametrize('masks', [1, 3])
def test_terms_of_a_pass(changes, masks):
    settings, found = LossSettings(**changes), decoder_pass(masks)
    terms = ClipCriterion(settings).pass_terms(found, truths())
    assert terms.tolist() == pytest.approx(expected(found, truths(), settings).tolist(), rel=2e-6)


def test_small_logits_are_enlarged_as_by_the_decoder():
    found = decoder_pass(3, low=True)
    high = F.interpolate(found.logits, size=(SIDE, SIDE), mode='bilinear', align_corners=False)
    want = ClipCriterion(LossSettings()).pass_terms(DecoderPass(high, found.ious, found.object_scores), truths())
    torch.testing.assert_close(ClipCriterion(LossSettings()).pass_terms(found, truths()), want)


def test_recomputing_changes_no_gradient():
    results = []
    for recompute in (True, False):
        found = decoder_pass(3, low=True)
        leaves = [part.requires_grad_() for part in (found.logits, found.ious, found.object_scores)]
        ClipCriterion(LossSettings(), recompute=recompute).pass_terms(found, truths()).sum().backward()
        results.append([leaf.grad for leaf in leaves])
    for first, second in zip(*results):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-7)


def test_only_the_best_mask_and_all_ious_have_gradients():
    found = decoder_pass(3)
    found.logits.requires_grad_()
    found.ious.requires_grad_()
    ClipCriterion(LossSettings()).pass_terms(found, truths()).sum().backward()
    assert (found.logits.grad.flatten(2).any(-1).sum(1)).tolist() == [1, 1, 0, 1]  # none of the absent object
    assert (found.ious.grad != 0).sum(1).tolist() == [3, 3, 0, 3]


def test_losses_are_weighted_and_divided_by_the_objects():
    criterion = ClipCriterion(LossSettings(loss_mask=20., loss_dice=2., loss_iou=0., loss_class=0.5))
    sums = torch.tensor([1., 2., 3., 4.], requires_grad=True)
    found = criterion.losses(sums, 4)
    assert {name: value.item() for name, value in found.items()} == dict(
        loss_mask=5., loss_dice=1., loss_class=0.5, unweighted_mask=0.25, unweighted_dice=0.5, unweighted_iou=0.75,
        unweighted_class=1.)
    assert not any(value.requires_grad for name, value in found.items() if name.startswith('unweighted'))
    assert criterion.losses(sums, 0)['loss_dice'].item() == 4.  # at least one object


def test_infinite_mask_of_an_absent_object_does_not_matter():
    found = decoder_pass(1)
    found.logits[2] = torch.inf
    assert ClipCriterion(LossSettings()).pass_terms(found, truths()).isfinite().all()


def test_half_precision_logits_are_compared_in_float32():
    found = decoder_pass(3)
    half = DecoderPass(found.logits.bfloat16(), found.ious.bfloat16(), found.object_scores.bfloat16())
    exact = DecoderPass(half.logits.float(), half.ious.float(), half.object_scores.float())
    criterion = ClipCriterion(LossSettings())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        terms = criterion.pass_terms(half, truths())
    assert terms.dtype == torch.float32 and torch.equal(terms, criterion.pass_terms(exact, truths()))


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(loss_mask=-1.), 'weights must not be negative'),
    (dict(loss_mask=0., loss_dice=0., loss_iou=0., loss_class=0.), 'nor all 0'),
    (dict(loss_masks=1.), "loss has no setting 'loss_masks': did you mean loss_mask"),
])
def test_bad_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        read_settings(LossSettings, changes, where='loss')
