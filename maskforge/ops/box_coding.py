"""Boxes as offsets from reference boxes (Girshick et al. 2014, appendix C), and MMDetection's coder of that name."""
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from maskforge.ops.boxes import clip_boxes
from maskforge.ops.device_values import on_device
from maskforge.registry import TASK_UTILS

# No box grows by more than 1000/16 in one step: exp() stays finite when a regression runs away.
MAX_LOG_RATIO = math.log(1000 / 16)
ZERO_MEANS, UNIT_STDS = (0.0, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0, 1.0)


def encode_deltas(references: Float[Tensor, '*N 4'], targets: Float[Tensor, '*N 4'], *,
                  means: Sequence[float | int] = ZERO_MEANS,
                  stds: Sequence[float | int] = UNIT_STDS) -> Float[Tensor, '*N 4']:
    """Return (dx, dy, dw, dh): shift in units of the reference's size and log size ratio, standardised."""
    size, target_size = references[..., 2:] - references[..., :2], targets[..., 2:] - targets[..., :2]
    centre, target_centre = references[..., :2] + size / 2, targets[..., :2] + target_size / 2
    deltas = torch.cat(((target_centre - centre) / size, torch.log(target_size / size)), dim=-1)
    return (deltas - _like(deltas, means)) / _like(deltas, stds)


def decode_deltas(references: Float[Tensor, '*#N 4'], deltas: Float[Tensor, '*#N 4'], *,
                  means: Sequence[float | int] = ZERO_MEANS, stds: Sequence[float | int] = UNIT_STDS,
                  max_shape: Sequence[int] | None = None) -> Float[Tensor, '*_ 4']:
    """Invert :func:`encode_deltas`; the two inputs broadcast.

    Args:
        max_shape: (height, width) to clip the boxes to; None leaves them.
    """
    deltas = deltas * _like(deltas, stds) + _like(deltas, means)
    size = references[..., 2:] - references[..., :2]
    centre = references[..., :2] + size / 2 + deltas[..., :2] * size
    half = size * deltas[..., 2:].clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp() / 2
    boxes = torch.cat((centre - half, centre + half), dim=-1)
    return boxes if max_shape is None else clip_boxes(boxes, max_shape)


def _like(deltas: Tensor, values: Sequence[float | int]) -> Tensor:
    return on_device(list(values), deltas.device, dtype=deltas.dtype)


@TASK_UTILS.register_module()
class DeltaXYWHBBoxCoder:
    """Means, standard deviations and clipping of one head's box regression.

    Args:
        target_means, target_stds: of (dx, dy, dw, dh).
        clip_border: clip decoded boxes to the image.

    Raises:
        ValueError: not four means and four positive standard deviations.
    """

    encode_size = 4

    def __init__(self, target_means: Sequence[float | int] = ZERO_MEANS,
                 target_stds: Sequence[float | int] = UNIT_STDS, *, clip_border: bool = True) -> None:
        if len(target_means) != 4 or len(target_stds) != 4 or min(target_stds) <= 0:
            raise ValueError(f'DeltaXYWHBBoxCoder needs four target_means and four positive target_stds, '
                             f'got {list(target_means)} and {list(target_stds)}.')
        self.means, self.stds, self.clip_border = tuple(target_means), tuple(target_stds), clip_border

    def encode(self, references: Float[Tensor, '*N 4'], targets: Float[Tensor, '*N 4']) -> Float[Tensor, '*N 4']:
        """Return the regression targets that move ``references`` onto ``targets``."""
        return encode_deltas(references, targets, means=self.means, stds=self.stds)

    def decode(self, references: Float[Tensor, '*#N 4'], deltas: Float[Tensor, '*#N 4'], *,
               max_shape: Sequence[int] | None = None) -> Float[Tensor, '*_ 4']:
        """Return the boxes, clipped to ``max_shape`` (height, width) if the coder clips."""
        shape = max_shape if self.clip_border else None
        return decode_deltas(references, deltas, means=self.means, stds=self.stds, max_shape=shape)
