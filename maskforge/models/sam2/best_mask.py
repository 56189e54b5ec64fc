"""The terms of a pass's best mask together with their gradients: nothing of the input's size is kept or computed twice.

With g the truth (0 or 1), x a logit and s = (1 - 2 g) x, a pixel's cross entropy is softplus(s), and w = sigmoid(s) the
probability of the wrong answer: focal and dice loss and their derivatives follow from these two.

Legend: N objects, M masks of the pass, H W pixels of the truth, P = H W, h w places of the logits.
"""
import functools
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class BestMask(NamedTuple):
    """What of a pass enters the loss.

    Attributes:
        focal, dice: of the best mask, with gradients.
        index: which it is.
        ious: of all masks and the truth.
    """

    focal: Float[Tensor, ' N']
    dice: Float[Tensor, ' N']
    index: Int[Tensor, ' N']
    ious: Float[Tensor, 'N M']


def best_mask(logits: Float[Tensor, 'N M _ _'], truth: Bool[Tensor, 'N 1 H W'], *, alpha: float | int,
              gamma: float | int, weights: tuple[float | int, float | int]) -> BestMask:
    """Return the mask of the smallest weighted sum of focal and dice loss.

    Args:
        logits: of any size; brought to the truth's by bilinear interpolation.
        alpha, gamma: of the focal loss; a negative ``alpha`` weights both classes alike.
        weights: of focal and dice loss.
    """
    return BestMask(*_BestMask.apply(logits, truth, float(alpha), float(gamma), weights))


class _BestMask(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits: Tensor, truth: Tensor, alpha: float, gamma: float,
                weights: tuple[float, float]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        inside = truth.flatten(1).float()[:, None]
        pixels = _enlarge(logits.float(), truth.shape[-2:]).flatten(2)
        ious = _ious(pixels > 0, inside)
        pixels = pixels * (1 - 2 * inside)
        wrong, entropy = pixels.sigmoid(), F.softplus(pixels)
        focal, dice = _focal(wrong, entropy, inside, alpha, gamma), _dice(wrong, inside)
        index = (weights[0] * focal + weights[1] * dice).argmin(1)
        rows = torch.arange(len(index), device=index.device)
        if ctx.needs_input_grad[0]:
            if logits.shape[1] > 1:
                wrong, entropy = (part[rows, index][:, None] for part in (wrong, entropy))
            slopes = _focal_slope(wrong, entropy, inside, alpha, gamma), _dice_slope(wrong, inside)
            slopes = torch.cat(slopes, 1).unflatten(-1, truth.shape[-2:])
            ctx.save_for_backward(index, _gathered(slopes, logits.shape[-2:]))
            ctx.like = logits.shape, logits.dtype
        ctx.mark_non_differentiable(index, ious)
        return focal[rows, index], dice[rows, index], index, ious

    @staticmethod
    @once_differentiable
    def backward(ctx, of_focal: Tensor, of_dice: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        index, slopes = ctx.saved_tensors
        shape, dtype = ctx.like
        found = of_focal.new_zeros(shape)
        rows = torch.arange(len(index), device=index.device)
        found[rows, index] = of_focal[:, None, None] * slopes[:, 0] + of_dice[:, None, None] * slopes[:, 1]
        return found.to(dtype), None, None, None, None


def _focal(wrong: Tensor, entropy: Tensor, inside: Tensor, alpha: float, gamma: float) -> Float[Tensor, 'N M']:
    loss = entropy * wrong**gamma
    return (loss if alpha < 0 else loss * (1 - alpha + (2 * alpha - 1) * inside)).mean(-1)


def _focal_slope(wrong: Tensor, entropy: Tensor, inside: Tensor, alpha: float, gamma: float) -> Float[Tensor, 'N 1 P']:
    weight = (1 - 2 * inside) / inside.shape[-1]
    weight = weight if alpha < 0 else weight * (1 - alpha + (2 * alpha - 1) * inside)
    return weight * wrong**gamma * (wrong + gamma * entropy * (1 - wrong))


def _overlap(wrong: Tensor, inside: Tensor) -> tuple[Float[Tensor, 'N M 1'], Float[Tensor, 'N M 1']]:
    """<p, g> and sum p + sum g + 1 of the probabilities p of 'inside'."""
    area, wrong_inside = inside.sum(-1, keepdim=True), (wrong * inside).sum(-1, keepdim=True)
    overlap = area - wrong_inside
    return overlap, overlap + (wrong.sum(-1, keepdim=True) - wrong_inside) + area + 1


def _dice(wrong: Tensor, inside: Tensor) -> Float[Tensor, 'N M']:
    overlap, total = _overlap(wrong, inside)
    return 1 - ((2 * overlap + 1) / total)[..., 0]


def _dice_slope(wrong: Tensor, inside: Tensor) -> Float[Tensor, 'N 1 P']:
    overlap, total = _overlap(wrong, inside)
    return ((2 * overlap + 1) / total**2 - 2 / total * inside) * (wrong * (1 - wrong))


def _ious(masks: Bool[Tensor, 'N M P'], inside: Float[Tensor, 'N 1 P']) -> Float[Tensor, 'N M']:
    truth = inside > 0
    return (masks & truth).sum(-1).float() / (masks | truth).sum(-1).clamp(min=1)


def _enlarge(logits: Float[Tensor, 'N M h w'], size: tuple[int, int]) -> Float[Tensor, 'N M H W']:
    if logits.shape[-2:] == size:
        return logits
    if logits.device.type != 'cpu':
        return F.interpolate(logits, size=size, mode='bilinear', align_corners=False)
    rows, columns = _shares(logits.shape[-2], size[0]), _shares(logits.shape[-1], size[1])
    return rows.T @ (logits @ columns)


def _gathered(slopes: Float[Tensor, 'N K H W'], size: tuple[int, int]) -> Float[Tensor, 'N K h w']:
    """What pixels of a map that :func:`_enlarge` made say about its input."""
    if slopes.shape[-2:] == size:
        return slopes
    if slopes.device.type != 'cpu':
        with torch.enable_grad():
            leaf = slopes.new_zeros(*slopes.shape[:2], *size).requires_grad_()
            enlarged = _enlarge(leaf, slopes.shape[-2:])
        return torch.autograd.grad(enlarged, leaf, slopes)[0]
    rows, columns = _shares(size[0], slopes.shape[-2]), _shares(size[1], slopes.shape[-1])
    return rows @ slopes @ columns.T


@functools.lru_cache(16)
def _shares(side: int, enlarged: int) -> Float[Tensor, 'side enlarged']:
    """What each place of a line has of the places of the enlarged one, by torch's interpolation.

    On CPUs a product with it takes a tenth of the time of torch's own backward pass.
    """
    with torch.inference_mode(False), torch.no_grad():
        return F.interpolate(torch.eye(side)[None], size=enlarged, mode='linear', align_corners=False)[0]
