import math

import numpy as np
import pytest
import torch
from mmengine import MessageHub

from maskforge.models.mask2former import Mask2FormerCriterion, MaskPredictions
from maskforge.models.mask2former.targets import MaskTargets

CLASSES, HEIGHT, WIDTH = 3, 96, 128


def predictions(images: int = 2, layers: int = 3, queries: int = 6, *, requires_grad: bool = False) -> MaskPredictions:
    torch.manual_seed(0)
    tensors = [torch.randn(layers, images, queries, CLASSES + 1), torch.randn(layers, images, queries, 5),
               torch.randn(images, 5, HEIGHT // 4, WIDTH // 4)]
    return MaskPredictions(*(tensor.requires_grad_(requires_grad) for tensor in tensors))


def total(losses: dict) -> torch.Tensor:
    return sum(losses.values())


def test_names_of_all_predictions(samples):
    found = Mask2FormerCriterion(num_points=50)(predictions(), samples)
    assert set(found) == {f'{name}{suffix}' for name in ('loss_ce', 'loss_mask', 'loss_dice')
                          for suffix in ('', '_0', '_1')}


def test_without_deep_supervision_the_last_prediction_alone_counts(samples):
    given = predictions(requires_grad=True)
    found = Mask2FormerCriterion(num_points=50, deep_supervision=False)(given, samples)
    assert set(found) == {'loss_ce', 'loss_mask', 'loss_dice'}
    total(found).backward()
    assert not given.class_logits.grad[:2].any() and given.class_logits.grad[2].any()


@pytest.mark.parametrize('every_pixel', [False, True])
@pytest.mark.parametrize('counts', [(0, 0), (0, 2), (8, 1)], ids=['no masks', 'an empty image', 'more than queries'])
def test_numbers_of_targets(make_sample, counts, every_pixel):
    given = predictions(requires_grad=True)
    samples = [make_sample((HEIGHT, WIDTH), count) for count in counts]
    found = Mask2FormerCriterion(num_points=50, every_pixel=every_pixel)(given, samples)
    total(found).backward()
    assert all(tensor.grad.isfinite().all() for tensor in given)
    assert found['loss_ce'] > 0 and (found['loss_mask'] == 0) == (sum(counts) == 0)


def test_perfect_masks_cost_nothing(samples):
    """Logits of +-40 with the targets' outlines and the right classes, in another order."""
    targets = MaskTargets.of(samples[:1], torch.device('cpu'))
    small = targets.masks[:, 1::4, 1::4].float()
    features = torch.cat((small, torch.ones(1, HEIGHT // 4, WIDTH // 4)))[None]
    embeddings = torch.tensor([[0., 0., -40.], [0., 80., -40.], [80., 0., -40.]])[None, None]
    logits = torch.full((1, 1, 3, CLASSES + 1), -30.)
    logits[0, 0, 0, CLASSES] = logits[0, 0, 1, 1] = logits[0, 0, 2, 0] = 30.
    # away from outlines, where bilinear samples are soft
    torch.manual_seed(0)
    found = Mask2FormerCriterion(num_points=500, importance_sample_ratio=0)(
        MaskPredictions(logits, embeddings, features), samples[:1])
    assert found['loss_ce'] < 1e-6 and found['loss_dice'] < 0.6
    wrong = Mask2FormerCriterion(num_points=500)(MaskPredictions(logits.flip(2), embeddings, features), samples[:1])
    assert wrong['loss_ce'] > 10


def test_tao_losses_by_hand(samples):
    """Focal loss and dice of all pixels, in float64 and pair by pair."""
    given = predictions(images=2, layers=1)
    criterion = Mask2FormerCriterion(every_pixel=True)
    found = criterion(given, samples)
    probability = 1 / (1 + np.exp(-given.mask_logits(0).double().numpy()))
    classes = given.class_logits[0].double().softmax(-1).numpy()
    focal_sum = dice_sum = 0.
    for image, sample in enumerate(samples):
        truth = sample.gt_instances.masks.to_bitmaps()[:, ::4, ::4].astype(float)
        labels = sample.gt_instances.labels.numpy()
        focal, dice = np.zeros((6, len(truth))), np.zeros((6, len(truth)))
        for query in range(6):
            for target, wanted in enumerate(truth):
                p = probability[image, query]
                right = np.where(wanted == 1, p, 1 - p)
                focal[query, target] = (np.where(wanted == 1, 0.25, 0.75) * (1 - right)**2 * -np.log(right)).mean()
                dice[query, target] = 1 - (2 * (p * wanted).sum() + 1) / (p.sum() + wanted.sum() + 1)
        rows, columns = best_pairs(2 * -classes[image][:, labels] + 5 * focal + 5 * dice)
        focal_sum, dice_sum = focal_sum + focal[rows, columns].sum(), dice_sum + dice[rows, columns].sum()
    assert found['loss_mask'].item() == pytest.approx(5 * focal_sum / 3, rel=1e-5)
    assert found['loss_dice'].item() == pytest.approx(5 * dice_sum / 3, rel=1e-5)


def best_pairs(cost: np.ndarray) -> tuple[list[int], list[int]]:
    """The least sum by trying everything."""
    from itertools import permutations
    best = min(permutations(range(len(cost)), cost.shape[1]), key=lambda rows: cost[rows, range(cost.shape[1])].sum())
    return list(best), list(range(cost.shape[1]))


def test_weights(samples):
    def run(**weights) -> dict:
        torch.manual_seed(4)
        return Mask2FormerCriterion(num_points=50, **weights)(predictions(layers=1), samples)
    base = run()
    for name, argument in (('loss_ce', 'class_weight'), ('loss_mask', 'mask_weight'), ('loss_dice', 'dice_weight')):
        zero = run(**{argument: 0.})
        assert base[name] > 0 and zero[name] == 0


def test_costs_apart_from_the_losses(samples):
    """Without costs of masks the class decides; losses keep their weights."""
    def run(**costs) -> dict:
        torch.manual_seed(4)
        return Mask2FormerCriterion(num_points=50, **costs)(predictions(layers=1), samples)
    by_class, by_mask = run(set_cost_mask=0., set_cost_dice=0.), run(set_cost_class=0.)
    assert by_class['loss_ce'] < by_mask['loss_ce'] and by_class['loss_dice'] > by_mask['loss_dice']
    same = run(set_cost_class=2., set_cost_mask=5, set_cost_dice=5)
    assert all(torch.equal(value, same[name]) for name, value in run().items())


def test_class_loss_by_weight(samples):
    """With one matched query among six: (right + weight * others) / (1 + 5 weight)."""
    given = predictions(images=1, layers=1)
    one = samples[1:]
    found = {}
    for weight in (0., 0.5):
        torch.manual_seed(4)
        found[weight] = Mask2FormerCriterion(num_points=50, no_object_weight=weight)(given, one)['loss_ce'].item() / 2
    entropy = -given.class_logits[0, 0].log_softmax(-1)
    matched = next(q for q in range(6) if math.isclose(entropy[q, 0].item(), found[0.], rel_tol=1e-5))
    others = sum(entropy[q, CLASSES].item() for q in range(6) if q != matched)
    assert found[0.5] == pytest.approx((found[0.] + 0.5 * others) / 3.5, rel=1e-5)


@pytest.mark.parametrize('options', [dict(oversample_ratio=1, importance_sample_ratio=0), dict(num_points=300)])
def test_points_change_the_mask_losses_only_through_where_they_lie(samples, options):
    def run(**more) -> dict:
        torch.manual_seed(4)
        return Mask2FormerCriterion(**{'num_points': 50, **more})(predictions(layers=1), samples)
    assert run()['loss_mask'] != run(**options)['loss_mask'] and run()['loss_mask'] == run()['loss_mask']


@pytest.mark.parametrize('options', [dict(num_points=0), dict(oversample_ratio=0.5),
                                     dict(importance_sample_ratio=1.5)])
def test_wrong_points(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Mask2FormerCriterion(**options)


def test_labels_beyond_the_head(make_sample):
    sample = make_sample((HEIGHT, WIDTH), 2)
    sample.gt_instances.labels += 2
    with pytest.raises(ValueError, match='labels from 2 to 3 do not fit num_classes=3'):
        Mask2FormerCriterion(num_points=50)(predictions(images=1), [sample])


def test_predictions_that_are_not_finite(samples):
    given = predictions()
    given.mask_embeddings[1, 1, 2] = math.nan
    MessageHub.get_current_instance().update_info('iter', 41)
    with pytest.raises(FloatingPointError, match=r'loss_ce, loss_mask, loss_dice at iteration 42.*layer 1, image 1'):
        Mask2FormerCriterion(num_points=50)(given, samples)


def test_masks_of_another_size(samples):
    samples[0].gt_instances.masks = samples[0].gt_instances.masks.crop((0, 0, 100, 96))
    with pytest.raises(ValueError, match=r'one.jpg: masks of 96 x 100 pixels for a batch of 96 x 128.*pad_mask=True'):
        MaskTargets.of(samples, torch.device('cpu'))


def test_samples_without_masks(samples):
    del samples[1].gt_instances.masks
    with pytest.raises(ValueError, match=r'one\.jpg: Mask2Former learns from gt_instances.masks, which are missing'):
        MaskTargets.of(samples, torch.device('cpu'))
