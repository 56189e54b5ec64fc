"""Which of the decoder's masks are returned, and what becomes of absent objects' masks."""
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from maskforge.models.sam2.mask_decoder import DecodedMasks
from maskforge.models.sam2.network_settings import NetworkSettings
from maskforge.models.sam2.stability import stability_scores
from maskforge.models.sam2.structures import MaskOutput

#: the logit of every pixel of an absent object
ABSENT = -1024.


class ChosenMasks(NamedTuple):
    """M of the decoder's masks.

    Attributes:
        masks, ious: as in :class:`DecodedMasks`.
        tokens: of every mask, or one that stands for all.
    """

    masks: Float[Tensor, 'N M H4 W4']
    ious: Float[Tensor, 'N M']
    tokens: Float[Tensor, 'N _ C']


def choose_masks(decoded: DecodedMasks, settings: NetworkSettings, *, multimask: bool, training: bool) -> ChosenMasks:
    """Return the three masks for several, or the first."""
    masks, ious, tokens, _ = decoded
    single_token = tokens[:, :1]
    if multimask:
        return ChosenMasks(masks[:, 1:], ious[:, 1:],
                           tokens[:, 1:] if settings.use_multimask_token_for_obj_ptr else single_token)
    if settings.dynamic_multimask_via_stability and not training:
        stable = stability_scores(masks[:, 0], delta=settings.dynamic_multimask_stability_delta)
        chosen = torch.where(stable >= settings.dynamic_multimask_stability_thresh, 0, ious[:, 1:].argmax(1) + 1)
        return ChosenMasks(_rows(masks, chosen), _rows(ious, chosen), single_token)
    return ChosenMasks(masks[:, :1], ious[:, :1], single_token)


def as_output(chosen: ChosenMasks, object_scores: Float[Tensor, 'N 1'], *, visible: Bool[Tensor, 'N 1'] | None,
              size: tuple[int, int]) -> MaskOutput:
    """Return the output; in the place of pointers, the token of the best mask that they are made from.

    Args:
        visible: masks of other objects are empty; None is all.
        size: H, W of the input.
    """
    low = chosen.masks
    if visible is not None:
        low = torch.where(visible[..., None, None], low, ABSENT)
    best = chosen.ious.argmax(1)
    best_low = low if low.shape[1] == 1 else _rows(low, best)
    high = F.interpolate(best_low.float(), size=size, mode='bilinear', align_corners=False)
    token = _rows(chosen.tokens, best if chosen.tokens.shape[1] > 1 else torch.zeros_like(best))[:, 0]
    return MaskOutput(low, chosen.ious, object_scores, best_low, high, token, chosen.masks)


def without_overlaps(masks: Float[Tensor, 'N 1 H W']) -> Float[Tensor, 'N 1 H W']:
    """Return logits of one image's objects in which a pixel belongs to its strongest object alone; others' <= -10."""
    strongest = masks.argmax(dim=0, keepdim=True) == torch.arange(len(masks), device=masks.device)[:, None, None, None]
    return torch.where(strongest, masks, masks.clamp(max=-10.))


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """``values[n, index[n]]``, its dimension kept."""
    return values[torch.arange(index.shape[0], device=index.device), index][:, None]
