"""Terms of the loss of one decoder pass (Ravi et al. 2024, appendix D.2), in float32 at the input's resolution.

Legend: N objects, M masks of the pass, H W pixels.
"""
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from maskforge.losses.dice import dice_loss
from maskforge.losses.focal import sigmoid_focal_loss


class MaskTerms(NamedTuple):
    """Of every mask.

    Attributes:
        focal: focal loss, the mean over the pixels.
        dice: dice loss.
        iou: of the mask (logits above 0) and the truth; without gradient.
    """

    focal: Float[Tensor, 'N M']
    dice: Float[Tensor, 'N M']
    iou: Float[Tensor, 'N M']


def mask_terms(logits: Float[Tensor, 'N M _ _'], truth: Bool[Tensor, 'N 1 H W'], *, alpha: float | int,
               gamma: float | int) -> MaskTerms:
    """Return the terms of M masks against one truth.

    Args:
        logits: of any size; brought to the truth's as the decoder does it.
        alpha, gamma: of the focal loss.
    """
    logits = logits.float()
    if logits.shape[-2:] != truth.shape[-2:]:
        logits = F.interpolate(logits, size=truth.shape[-2:], mode='bilinear', align_corners=False)
    count = logits.shape[:2]
    flat, target = logits.flatten(0, 1).flatten(1), truth.expand(*count, -1, -1).flatten(0, 1).flatten(1)
    focal = sigmoid_focal_loss(flat, target, alpha=alpha, gamma=gamma).mean(1)
    dice = dice_loss(flat.sigmoid(), target)
    return MaskTerms(*(term.unflatten(0, count) for term in (focal, dice, mask_iou(flat > 0, target))))


@torch.no_grad()
def mask_iou(masks: Bool[Tensor, 'N P'], truth: Bool[Tensor, 'N P']) -> Float[Tensor, ' N']:
    """Return intersection over union of each pair; 0 where both are empty."""
    intersection, union = (masks & truth).sum(1), (masks | truth).sum(1)
    return intersection.float() / union.clamp(min=1)


def iou_error(predicted: Float[Tensor, 'N M'], actual: Float[Tensor, 'N M'], *, l1: bool) -> Float[Tensor, 'N M']:
    """Return the error of predicted IoUs, absolute or squared."""
    difference = predicted.float() - actual
    return difference.abs() if l1 else difference.square()


def presence_loss(scores: Float[Tensor, 'N 1'], present: Bool[Tensor, 'N 1'], *, alpha: float | int,
                  gamma: float | int) -> Float[Tensor, ' N']:
    """Return the focal loss of each object's visibility; cross entropy at ``gamma=0, alpha=-1``."""
    return sigmoid_focal_loss(scores, present, alpha=alpha, gamma=gamma)[:, 0]
