"""What a video predictor says about one frame.

Legend: N objects, H W pixels of the frames, h w those of low-resolution logits.
"""
from collections.abc import Hashable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from maskforge.models.sam2.hole_filling import tidy_masks
from maskforge.structures import InstanceMasks

#: logits of a pixel that belongs to another object are at most this
OVERLAP_LOGIT = -10.
#: as the released predictor fills holes
HOLE_MARGIN = 0.1


@dataclass
class FrameResult:
    """Objects of one frame.

    Attributes:
        frame: its number.
        object_ids: N ids, in the order in which the objects were added.
        logits: (N, H, W) float32 at the size of the frames; above ``mask_threshold`` is inside.
        scores: (N,) probability that the object is to be seen.
        mask_threshold: of the predictor.
    """

    frame: int
    object_ids: tuple[Hashable, ...]
    logits: Float[Tensor, 'N H W']
    scores: Float[Tensor, ' N']
    mask_threshold: float | int = 0.

    def __len__(self) -> int:
        return len(self.object_ids)

    @property
    def masks(self) -> Bool[Tensor, 'N H W']:
        """The pixels of each object."""
        return self.logits > self.mask_threshold

    def instance_masks(self) -> InstanceMasks:
        """The masks as RLE."""
        return InstanceMasks.from_bitmaps(self.masks)


def frame_logits(low: Float[Tensor, 'N h w'], size: tuple[int, int], *, fill_hole_area: int | float = 0,
                 without_overlaps: bool = False) -> Float[Tensor, 'N H W']:
    """Return logits at ``size`` (H, W).

    Args:
        fill_hole_area: holes of at most so many low-resolution pixels are filled.
        without_overlaps: a pixel belongs to the object of the highest logit alone.
    """
    low = tidy_masks(low.float(), max_hole_area=fill_hole_area, margin=HOLE_MARGIN)
    logits = F.interpolate(low[None], size=size, mode='bilinear', align_corners=False)[0] if len(low) else \
        low.new_zeros(0, *size)
    return suppress_overlaps(logits) if without_overlaps and len(logits) > 1 else logits


def suppress_overlaps(logits: Float[Tensor, 'N H W']) -> Float[Tensor, 'N H W']:
    """Return logits of which, at every pixel, only the highest can be above :data:`OVERLAP_LOGIT`."""
    winner = logits.argmax(dim=0)
    objects = torch.arange(len(logits), device=logits.device)[:, None, None]
    return torch.where(objects == winner, logits, logits.clamp(max=OVERLAP_LOGIT))
