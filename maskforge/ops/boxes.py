"""Axis-aligned boxes: overlap, clipping, flipping, scaling, form changes.

Legend: boxes are float ``xyxy`` in absolute pixels and continuous coordinates (width is x1 - x0) unless a name says
otherwise; N M boxes.
"""
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maskforge.ops.device_values import on_device

FLIPS = ('horizontal', 'vertical', 'diagonal')


def box_area(boxes: Float[Tensor, '*N 4']) -> Float[Tensor, '*N']:
    """Return width x height in square pixels; negative sides count as 0."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def _intersection(first: Tensor, second: Tensor) -> Tensor:
    top_left = torch.maximum(first[..., :, None, :2], second[..., None, :, :2])
    bottom_right = torch.minimum(first[..., :, None, 2:], second[..., None, :, 2:])
    sides = (bottom_right - top_left).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def box_iou(first: Float[Tensor, 'N 4'], second: Float[Tensor, 'M 4']) -> Float[Tensor, 'N M']:
    """Return intersection over union of every pair, in [0, 1]; two empty boxes have 0."""
    shared = _intersection(first, second)
    union = box_area(first)[:, None] + box_area(second)[None] - shared
    return shared / union.clamp(min=1e-6)


def box_iof(first: Float[Tensor, 'N 4'], second: Float[Tensor, 'M 4']) -> Float[Tensor, 'N M']:
    """Return intersection over the area of ``first``, in [0, 1] (how much of it a crowd region covers)."""
    return _intersection(first, second) / box_area(first)[:, None].clamp(min=1e-6)


def generalized_box_iou(first: Float[Tensor, '*#B N 4'], second: Float[Tensor, '*#B M 4'], *,
                        eps: float = 1e-6) -> Float[Tensor, '*B N M']:
    """Return GIoU of every pair, in [-1, 1] (Rezatofighi et al. 2019, algorithm 1); leading axes broadcast.

    Args:
        eps: least area that is divided by, in the boxes' unit squared; smaller for boxes in parts of an image.
    """
    shared = _intersection(first, second)
    union = (box_area(first)[..., :, None] + box_area(second)[..., None, :] - shared).clamp(min=eps)
    top_left = torch.minimum(first[..., :, None, :2], second[..., None, :, :2])
    sides = torch.maximum(first[..., :, None, 2:], second[..., None, :, 2:]) - top_left
    hull = sides.prod(dim=-1).clamp(min=eps)
    return shared / union - (hull - union) / hull


def clip_boxes(boxes: Float[Tensor, '*N 4'], shape: Sequence[int]) -> Float[Tensor, '*N 4']:
    """Clip to an image of ``shape`` (height, width)."""
    height, width = shape[:2]
    xs, ys = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack((xs, ys), dim=-1).flatten(-2)


def flip_boxes(boxes: Float[Tensor, '*N 4'], shape: Sequence[int], direction: str) -> Float[Tensor, '*N 4']:
    """Mirror inside an image of ``shape`` (height, width): x -> width - x for 'horizontal', both for 'diagonal'.

    Raises:
        ValueError: an unknown direction.
    """
    if direction not in FLIPS:
        raise ValueError(f'flip_boxes: direction={direction!r} is not one of {", ".join(FLIPS)}.')
    height, width = shape[:2]
    x0, y0, x1, y1 = boxes.unbind(-1)
    if direction != 'vertical':
        x0, x1 = width - x1, width - x0
    if direction != 'horizontal':
        y0, y1 = height - y1, height - y0
    return torch.stack((x0, y0, x1, y1), dim=-1)


def scale_boxes(boxes: Float[Tensor, '*N 4'], factor: Sequence[float | int]) -> Float[Tensor, '*N 4']:
    """Multiply by ``factor`` (x, y)."""
    return boxes * on_device([factor[0], factor[1]] * 2, boxes.device, dtype=boxes.dtype)


def cxcywh_to_xyxy(boxes_cxcywh: Float[Tensor, '*N 4']) -> Float[Tensor, '*N 4']:
    """Centre and size to corners, in any unit."""
    centre, size = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:]
    return torch.cat((centre - size / 2, centre + size / 2), dim=-1)


def xyxy_to_cxcywh(boxes: Float[Tensor, '*N 4']) -> Float[Tensor, '*N 4']:
    """Corners to centre and size, in any unit."""
    return torch.cat(((boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]), dim=-1)


def larger_than(boxes: Float[Tensor, '*N 4'], size: float | int) -> Bool[Tensor, '*N']:
    """Which boxes are wider and higher than ``size`` pixels."""
    return ((boxes[..., 2:] - boxes[..., :2]) > size).all(dim=-1)
