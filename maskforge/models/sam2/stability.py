"""How much a mask changes when its threshold moves, and what to do with one that changes much.

Legend: N objects, M masks per object, H W pixels.
"""
import dataclasses

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maskforge.models.sam2.structures import MaskOutput

#: of the released predictors
DELTA, THRESHOLD = 0.05, 0.98


def stability_scores(logits: Float[Tensor, '*lead H W'], *, delta: float | int = DELTA,
                     mask_threshold: float | int = 0.) -> Float[Tensor, '*lead']:
    """Return the area above ``mask_threshold + delta`` over the area above ``mask_threshold - delta``.

    In [0, 1]; the larger area contains the smaller, so this is their IoU. 1 where both are empty.
    """
    sure = (logits > mask_threshold + delta).sum((-2, -1)).float()
    perhaps = (logits > mask_threshold - delta).sum((-2, -1)).float()
    return torch.where(perhaps > 0, sure / perhaps.clamp(min=1), 1.)


def replace_unstable(single: MaskOutput, several: MaskOutput, *, delta: float | int = DELTA,
                     threshold: float | int = THRESHOLD) -> MaskOutput:
    """Return the single-mask output in which unstable masks gave way to the best of several.

    Args:
        single: of one mask per object (M = 1); its object pointers and scores stay.
        several: of the same objects and prompts with several masks; the one of the highest predicted IoU is taken.
        delta, threshold: a mask is stable if :func:`stability_scores` of its logits is at least ``threshold``.
    """
    # the gate of absent objects makes a constant mask, which would hide how stable it was
    stable = stability_scores(single.ungated_low, delta=delta)[:, 0] >= threshold
    best = several.ious.argmax(dim=1)
    rows = torch.arange(len(best), device=best.device)

    def mixed(name: str) -> Tensor:
        kept = getattr(single, name)
        return _where(stable, kept, getattr(several, name)[rows, best][:, None])

    masks = dict(multimasks_low=mixed('multimasks_low'), multimasks_high=mixed('multimasks_high'))
    return dataclasses.replace(single, **masks, ious=mixed('ious'), ungated_low=mixed('ungated_low'),
                               masks_low=masks['multimasks_low'], masks_high=masks['multimasks_high'])


def _where(chosen: Bool[Tensor, ' N'], kept: Tensor, other: Tensor) -> Tensor:
    return torch.where(chosen.view(-1, *[1] * (kept.ndim - 1)), kept, other)
