"""The costs by which queries are given to targets (Cheng et al., CVPR 2022, section 3.3).

Legend: N predictions, B images, Q queries, K classes, T targets (of one image at most; others are padded), P points.
"""
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from maskforge.losses.point_sampling import random_points, sample_masks, sample_points
from maskforge.models.mask2former.predictions import MaskPredictions
from maskforge.models.mask2former.targets import MaskTargets

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0


@torch.no_grad()
def costs_at_points(found: MaskPredictions, targets: MaskTargets, weights: Mapping[str, float | int], *,
                    num_points: int) -> Float[Tensor, 'N B Q T']:
    """Return the weighted costs: class probability, cross entropy and dice at random points of each image.

    One set of points serves all predictions, queries and targets of an image.
    """
    points = random_points(len(targets.counts), num_points, found.mask_features)
    features = sample_points(found.mask_features, points)
    wanted = _by_image(_masks_at(targets, points), targets.counts).to(features.dtype).transpose(-2, -1)
    costs = []
    # on a CPU layer by layer, in its caches
    for embeddings in found.mask_embeddings.split(1 if features.device.type == 'cpu' else len(found.mask_embeddings)):
        logits = embeddings.transpose(0, 1).flatten(1, 2).float() @ features
        # softplus(x) - x t is the cross entropy of a soft target: one product with the targets instead of two
        entropy = (F.softplus(logits).sum(-1, keepdim=True) - logits @ wanted) / num_points
        of_masks = weights['mask'] * entropy + weights['dice'] * dice_cost(logits.sigmoid_(), wanted)
        costs.append(of_masks.unflatten(1, (len(embeddings), -1)).transpose(0, 1))
    return weights['class'] * class_cost(found.class_logits, targets) + torch.cat(costs)


@torch.no_grad()
def costs_at_pixels(found: MaskPredictions, targets: MaskTargets, small: Bool[Tensor, 'T h w'],
                    weights: Mapping[str, float | int]) -> Float[Tensor, 'N B Q T']:
    """Return TAO's costs: class probability, focal loss and dice over all pixels at a quarter of the resolution.

    Args:
        small: the targets at the size of the mask features.
    """
    wanted = _by_image(small.flatten(1), targets.counts).transpose(-2, -1).float()
    costs = []
    for layer, probability in enumerate(class_cost(found.class_logits, targets)):
        logits = found.mask_logits(layer).flatten(2).float()  # layer by layer: these are large
        costs.append(weights['class'] * probability + weights['mask'] * focal_cost(logits, wanted)
                     + weights['dice'] * dice_cost(logits.sigmoid(), wanted))
    return torch.stack(costs)


def class_cost(logits: Float[Tensor, 'N B Q K+1'], targets: MaskTargets) -> Float[Tensor, 'N B Q T']:
    """Return minus the probability of each target's class."""
    labels = _by_image(targets.labels, targets.counts)
    return -logits.softmax(-1).gather(-1, labels[None, :, None].expand(*logits.shape[:3], -1))


def dice_cost(probability: Float[Tensor, '*B Q P'], wanted: Float[Tensor, '*B P T']) -> Float[Tensor, '*B Q T']:
    """Return 1 - (2 <p, t> + 1) / (sum p + sum t + 1) of every pair."""
    total = probability.sum(-1, keepdim=True) + wanted.sum(-2, keepdim=True)
    return 1 - (2 * (probability @ wanted) + 1) / (total + 1)


def focal_cost(logits: Float[Tensor, '*B Q P'], wanted: Float[Tensor, '*B P T']) -> Float[Tensor, '*B Q T']:
    """Return the mean focal loss of every pair (Lin et al., ICCV 2017, equation 5)."""
    probability = logits.sigmoid()
    positive = FOCAL_ALPHA * (1 - probability)**FOCAL_GAMMA * F.softplus(-logits)
    negative = (1 - FOCAL_ALPHA) * probability**FOCAL_GAMMA * F.softplus(logits)
    return (positive @ wanted + negative @ (1 - wanted)) / logits.shape[-1]


def _masks_at(targets: MaskTargets, points: Float[Tensor, 'B P 2']) -> Float[Tensor, 'T P']:
    which = torch.arange(len(targets.labels), device=points.device)
    image = _image_of(targets.counts, points.device)
    return sample_masks(targets.masks, which, points[image])


def _image_of(counts: Sequence[int], device: torch.device) -> Int[Tensor, ' T']:
    return torch.cat([torch.full((count,), image, device=device) for image, count in enumerate(counts)])


def _by_image(values: Tensor, counts: Sequence[int]) -> Tensor:
    """(T, ...) of all images -> (B, most targets, ...), shorter ones padded with zeros."""
    return pad_sequence(list(values.split(list(counts))), batch_first=True)
