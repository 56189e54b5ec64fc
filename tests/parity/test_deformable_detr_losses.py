"""The criterion's terms equal transformers' on every layer, and a float64 re-computation that includes the encoder's.

transformers leaves the class loss unweighted and the encoder out; the rest is the same arithmetic.
"""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from maskforge.losses import match
from maskforge.losses.set_criterion import padded_targets
from maskforge.models.deformable_detr import SetPredictions
from maskforge.models.deformable_detr.criterion import DeformableDETRCriterion, matching_cost, normalised_boxes
from maskforge.structures import DetDataSample

LAYERS, QUERIES, TOKENS, CLASSES = 4, 20, 37, 6
SHAPES = [(120, 160), (96, 128), (160, 90)]
COEFFICIENTS = dict(cls_loss_coef=2., bbox_loss_coef=5., giou_loss_coef=2.)
NAMES = dict(loss_ce='cls_loss_coef', loss_bbox='bbox_loss_coef', loss_giou='giou_loss_coef')
# targets per image: the usual, one image without, none at all, more than there are queries
COUNTS = {'usual': (3, 7, 1), 'an empty image': (4, 0, 2), 'none': (0, 0, 0), 'more than queries': (26, 2, 0)}


def some_boxes(*shape: int) -> Tensor:
    centre, size = torch.rand(*shape, 2) * 0.6 + 0.2, torch.rand(*shape, 2) * 0.35 + 0.02
    return torch.cat((centre, size), -1)


def some_predictions(*, encoder: bool) -> SetPredictions:
    batch = len(SHAPES)
    tensors = [torch.randn(LAYERS, batch, QUERIES, CLASSES) * 2 - 2, some_boxes(LAYERS, batch, QUERIES)]
    if encoder:
        tensors += [torch.randn(batch, TOKENS, CLASSES) - 2, some_boxes(batch, TOKENS)]
    return SetPredictions(*(tensor.requires_grad_() for tensor in tensors))


def some_samples(counts: tuple[int, ...]) -> list[DetDataSample]:
    samples = []
    for (height, width), count in zip(SHAPES, counts):
        centre, size = some_boxes(count).split(2, -1)
        xyxy = torch.cat((centre - size / 2, centre + size / 2), -1) * torch.tensor([width, height, width, height])
        samples.append(DetDataSample(metainfo=dict(img_shape=(height, width))))
        samples[-1].gt_instances = InstanceData(bboxes=xyxy, labels=torch.randint(CLASSES, (count,)))
    return samples


@pytest.fixture(params=COUNTS)
def case(request) -> tuple[SetPredictions, list[DetDataSample]]:
    torch.manual_seed(1)
    return some_predictions(encoder=True), some_samples(COUNTS[request.param])


def their_losses(found: SetPredictions, samples: list[DetDataSample], focal_alpha: float) -> dict[str, Tensor]:
    from transformers.loss.loss_deformable_detr import DeformableDetrForObjectDetectionLoss
    config = SimpleNamespace(class_cost=2, bbox_cost=5, giou_cost=2, num_labels=CLASSES, focal_alpha=focal_alpha,
                             auxiliary_loss=True, bbox_loss_coefficient=5, giou_loss_coefficient=2,
                             decoder_layers=LAYERS)
    labels = [dict(class_labels=one.gt_instances.labels, boxes=normalised_boxes(one)) for one in samples]
    _, terms, _ = DeformableDetrForObjectDetectionLoss(
        found.logits[-1], labels, 'cpu', found.boxes_cxcywh[-1], config, found.logits, found.boxes_cxcywh)
    return terms


@pytest.mark.parametrize('focal_alpha', [0.25, 0.6])
def test_every_term_and_its_gradient_equal_transformers(case, focal_alpha):
    pytest.importorskip('transformers')
    found, samples = case
    terms = their_losses(found, samples, focal_alpha)
    ours = DeformableDETRCriterion(**COEFFICIENTS, focal_alpha=focal_alpha)(found, samples)
    decoder = {name: value for name, value in ours.items() if name.startswith('loss') and not name.endswith('_enc')}
    wanted = {name: value * COEFFICIENTS[NAMES['_'.join(name.split('_')[:2])]] for name, value in terms.items()
              if name.startswith('loss')}
    assert set(decoder) == set(wanted) and len(wanted) == 3 * LAYERS
    for name, value in wanted.items():
        assert decoder[name].item() == pytest.approx(value.item(), abs=1e-5, rel=1e-5), name
    assert ours['cardinality_error'].item() == pytest.approx(terms['cardinality_error'].item())
    inputs = (found.logits, found.boxes_cxcywh)
    gradients = [torch.autograd.grad(sum(side.values()), inputs, retain_graph=True) for side in (decoder, wanted)]
    for mine, theirs in zip(*gradients):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)


def by_hand(logits: np.ndarray, boxes: np.ndarray, labels: list, targets: list) -> tuple[dict[str, float], list]:
    """Losses and matches of one layer in float64, pair by pair."""
    totals = dict(loss_ce=0., loss_bbox=0., loss_giou=0.)
    probability, pairs = 1 / (1 + np.exp(-logits)), []
    for image, (own_labels, own_boxes) in enumerate(zip(labels, targets)):
        p = probability[image][:, own_labels]
        focal = 0.25 * (1 - p)**2 * -np.log(p + 1e-8) - 0.75 * p**2 * -np.log(1 - p + 1e-8)
        l1 = np.array([[np.abs(box - one).sum() for one in own_boxes] for box in boxes[image]])
        overlap = np.array([[giou(box, one) for one in own_boxes] for box in boxes[image]])
        shape = (len(boxes[image]), len(own_boxes))
        rows, columns = linear_sum_assignment(2 * focal + 5 * l1.reshape(shape) - 2 * overlap.reshape(shape))
        wanted = np.zeros_like(probability[image])
        wanted[rows, own_labels[columns]] = 1
        right = np.where(wanted == 1, probability[image], 1 - probability[image])
        totals['loss_ce'] += (np.where(wanted == 1, 0.25, 0.75) * (1 - right)**2 * -np.log(right)).sum()
        totals['loss_bbox'] += sum(l1[row, column] for row, column in zip(rows, columns))
        totals['loss_giou'] += sum(1 - overlap[row, column] for row, column in zip(rows, columns))
        pairs.append(sorted(zip(columns.tolist(), rows.tolist())))
    count = max(sum(map(len, labels)), 1)
    return {name: value * COEFFICIENTS[NAMES[name]] / count for name, value in totals.items()}, pairs


def giou(first: np.ndarray, second: np.ndarray) -> float:
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = (
        (x - w / 2, y - h / 2, x + w / 2, y + h / 2) for x, y, w, h in (first, second))
    shared = max(min(ax1, bx1) - max(ax0, bx0), 0) * max(min(ay1, by1) - max(ay0, by0), 0)
    union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - shared
    hull = (max(ax1, bx1) - min(ax0, bx0)) * (max(ay1, by1) - min(ay0, by0))
    return shared / union - (hull - union) / hull


def numpy64(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def test_encoder_and_last_layer_equal_float64(case):
    found, samples = case
    ours = DeformableDETRCriterion(**COEFFICIENTS)(found, samples)
    targets = [numpy64(normalised_boxes(one)) for one in samples]
    labels = [one.gt_instances.labels.numpy() for one in samples]
    last, _ = by_hand(numpy64(found.logits[-1]), numpy64(found.boxes_cxcywh[-1]), labels, targets)
    first, _ = by_hand(numpy64(found.encoder_logits), numpy64(found.encoder_boxes_cxcywh),
                       [np.zeros_like(one) for one in labels], targets)
    for name, value in {**last, **{f'{name}_enc': value for name, value in first.items()}}.items():
        assert ours[name].item() == pytest.approx(value, abs=1e-5, rel=1e-5), name


def test_matches_equal_scipy_on_every_layer(case):
    found, samples = case
    boxes, labels = [normalised_boxes(one) for one in samples], [one.gt_instances.labels for one in samples]
    cost = matching_cost(found.logits, found.boxes_cxcywh, padded_targets(labels), padded_targets(boxes), (2, 5, 2))
    counts = [len(one) for one in labels]
    matches = match(dict(decoder=cost), counts)['decoder']
    starts = np.cumsum([0, *counts])
    for layer in range(LAYERS):
        _, wanted = by_hand(numpy64(found.logits[layer]), numpy64(found.boxes_cxcywh[layer]),
                            [one.numpy() for one in labels], [numpy64(one) for one in boxes])
        for image, pairs in enumerate(wanted):
            own = (matches.layers == layer) & (matches.images == image)
            assert list(zip((matches.targets[own] - starts[image]).tolist(), matches.queries[own].tolist())) == pairs
