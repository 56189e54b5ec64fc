"""The criterion's terms equal transformers' on every prediction, with the random points fixed for both."""
import pytest
import torch
from mmengine.structures import InstanceData
from torch import Tensor

from maskforge.models.mask2former import Mask2FormerCriterion, MaskPredictions
from maskforge.models.mask2former.matching import costs_at_points
from maskforge.models.mask2former.targets import MaskTargets
from maskforge.structures import DetDataSample, InstanceMasks

transformers = pytest.importorskip('transformers')

PREDICTIONS, IMAGES, QUERIES, CLASSES, CHANNELS = 4, 3, 15, 6, 8
HEIGHT, WIDTH = 64, 96
POINTS = 500
WEIGHTS = {'loss_ce': 2., 'loss_mask': 5., 'loss_dice': 5.}
THEIR_NAMES = dict(loss_ce='loss_cross_entropy', loss_mask='loss_mask', loss_dice='loss_dice')
COUNTS = {'usual': (3, 7, 1), 'an empty image': (4, 0, 2), 'as many as queries': (15, 2, 0)}


@pytest.fixture(params=COUNTS)
def case(request) -> tuple[MaskPredictions, list[DetDataSample]]:
    torch.manual_seed(1)
    found = MaskPredictions(torch.randn(PREDICTIONS, IMAGES, QUERIES, CLASSES + 1) * 2,
                            torch.randn(PREDICTIONS, IMAGES, QUERIES, CHANNELS),
                            torch.randn(IMAGES, CHANNELS, HEIGHT // 4, WIDTH // 4))
    return MaskPredictions(*(tensor.requires_grad_() for tensor in found)), some_samples(COUNTS[request.param])


def some_samples(counts: tuple[int, ...]) -> list[DetDataSample]:
    samples = []
    for count in counts:
        samples.append(DetDataSample(metainfo=dict(batch_input_shape=(HEIGHT, WIDTH), img_shape=(HEIGHT, WIDTH))))
        # blobs, not noise: samples between pixels stay away from one half
        coarse = torch.nn.functional.interpolate(torch.randn(1, count, 6, 8), (HEIGHT, WIDTH), mode='bilinear')[0] \
            if count else torch.zeros(0, HEIGHT, WIDTH)
        samples[-1].gt_instances = InstanceData(labels=torch.randint(CLASSES, (count,)),
                                                masks=InstanceMasks.from_bitmaps(coarse > 0.3))
    return samples


@pytest.fixture
def fixed_points(monkeypatch):
    """Random points depend on their number alone, so that it does not matter who draws for whom and in which order."""
    def rand(batch: int, count: int, two: int, *, device=None) -> Tensor:
        generator = torch.Generator().manual_seed(count)
        return torch.empty(1, count, two).uniform_(generator=generator).repeat(batch, 1, 1)
    monkeypatch.setattr(torch, 'rand', rand)


def their_criterion(no_object_weight: float):
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss
    config = transformers.Mask2FormerConfig(num_labels=CLASSES, no_object_weight=no_object_weight,
                                            train_num_points=POINTS)
    return Mask2FormerLoss(config, {})


def their_inputs(found: MaskPredictions, samples: list[DetDataSample]) -> tuple:
    masks = [sample.gt_instances.masks.to_tensor().float() for sample in samples]
    labels = [sample.gt_instances.labels for sample in samples]
    return [found.mask_logits(layer) for layer in range(PREDICTIONS)], masks, labels


@pytest.mark.parametrize('no_object_weight', [0.1, 0.7])
def test_every_term_and_its_gradient_equal_transformers(case, fixed_points, no_object_weight):
    found, samples = case
    logits, masks, labels = their_inputs(found, samples)
    earlier = [dict(masks_queries_logits=mask, class_queries_logits=classes)
               for mask, classes in zip(logits[:-1], found.class_logits[:-1])]
    terms = their_criterion(no_object_weight)(logits[-1], found.class_logits[-1], masks, labels, earlier)
    ours = Mask2FormerCriterion(num_points=POINTS, no_object_weight=no_object_weight)(found, samples)
    assert len(ours) == 3 * PREDICTIONS == len(terms)
    wanted = {}
    for name in ours:
        base = '_'.join(name.split('_')[:2])
        wanted[name] = WEIGHTS[base] * terms[name.replace(base, THEIR_NAMES[base])]
        assert ours[name].item() == pytest.approx(wanted[name].item(), abs=1e-5, rel=1e-5), name
    gradients = [torch.autograd.grad(sum(side.values()), found, retain_graph=True) for side in (ours, wanted)]
    for mine, theirs in zip(*gradients):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_costs_lead_to_the_same_matches(case, fixed_points):
    from scipy.optimize import linear_sum_assignment
    found, samples = case
    logits, masks, labels = their_inputs(found, samples)
    targets = MaskTargets.of(samples, torch.device('cpu'))
    costs = costs_at_points(found, targets, {'class': 2., 'mask': 5., 'dice': 5.}, num_points=POINTS)
    for layer in range(PREDICTIONS):
        theirs = their_criterion(0.1).matcher(logits[layer], found.class_logits[layer], masks, labels)
        for image, (queries, chosen) in enumerate(theirs):
            rows, columns = linear_sum_assignment(costs[layer, image, :, :targets.counts[image]])
            assert (rows.tolist(), columns.tolist()) == (queries.tolist(), chosen.tolist())
