"""From a crop's probabilities to a mask in the image, and how far one may trust it.

Legend: B crops, S side of the logits, c side of the crops.
"""
import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from maskforge.structures.packed_mask import Window, window_to_rle

#: parts of a box that objects usually fill: a thin diagonal one fifth, a disc 0.79
USUAL_FILL = (0.2, 0.85)
#: left for a mask that is its whole box: as the third factor of the quality's geometric mean it makes that 0.5
FULL_BOX = 0.125


def inside_boxes(boxes_in_crop: Float[Tensor, 'B 4'], crop_size: int, side: int) -> Bool[Tensor, 'B side side']:
    """Return which cells of a side x side grid over the crop have their centre in the box.

    Args:
        boxes_in_crop: xyxy in pixels of the crop.
        crop_size: c.
    """
    centres = (torch.arange(side, device=boxes_in_crop.device) + 0.5) * (crop_size / side)
    columns, rows = (((centres >= boxes_in_crop[:, low, None]) & (centres < boxes_in_crop[:, low + 2, None]))
                     for low in (0, 1))
    return rows[:, :, None] & columns[:, None, :]


def teacher_agreement(student: Float[Tensor, 'B S S'], teacher: Float[Tensor, 'B S S'],
                      inside: Bool[Tensor, 'B S S'], thresholds: Sequence[float]) -> list[float]:
    """Return the IoU of the two networks' masks inside the boxes, from their logits; 0 where both are empty."""
    limits = torch.tensor(thresholds, device=student.device)[:, None, None]
    ours, theirs = ((logits.sigmoid() > limits) & inside for logits in (student, teacher))
    common, either = ((ours & theirs).sum(dim=(1, 2)), (ours | theirs).sum(dim=(1, 2)))
    return (common / either.clamp(min=1)).tolist()


def visible_window(crop_box: Sequence[int], size: tuple[int, int],
                   box: Sequence[float | int] | None = None) -> Window:
    """Return the crop's part of the image, cut to the pixels of ``box`` where one is given.

    A pixel is the box's if its centre is inside; a box too small for any has the pixel at its own centre.

    Args:
        crop_box: xyxy; parts of it may lie outside the image.
        size: (height, width) of the image.
    """
    x0, y0, x1, y1 = crop_box
    if box is not None:
        (bx0, bx1), (by0, by1) = (_pixels(box[axis], box[axis + 2]) for axis in (0, 1))
        x0, y0, x1, y1 = max(x0, bx0), max(y0, by0), min(x1, bx1), min(y1, by1)
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, size[1]), min(y1, size[0])
    return x0, y0, max(x0, x1), max(y0, y1)


def _pixels(low: float | int, high: float | int) -> tuple[int, int]:
    first, last = math.ceil(low - 0.5), math.ceil(high - 0.5)
    return (first, last) if last > first else (math.floor((low + high) / 2), math.floor((low + high) / 2) + 1)


def paste_window(probs: Float[Tensor, 'c c'], crop_box: Sequence[int], window: Window) -> Float[Tensor, '_ _']:
    """Return the probabilities of the window's pixels: the crop resized to ``crop_box``, of which it is a part."""
    x0, y0, x1, y1 = crop_box
    resized = F.interpolate(probs[None, None], size=(y1 - y0, x1 - x0), mode='bilinear', align_corners=False)[0, 0]
    return resized[window[1] - y0:window[3] - y0, window[0] - x0:window[2] - x0]


def mask_in_image(probs: Float[Tensor, 'c c'], crop_box: Sequence[int], window: Window, size: tuple[int, int],
                  threshold: float) -> tuple[dict, list[int] | None]:
    """Return the mask's COCO RLE at ``size`` (height, width), and its tight box xyxy (None for an empty mask)."""
    if window[0] >= window[2] or window[1] >= window[3]:
        return window_to_rle(np.zeros((1, 1), bool), (0, 0, 1, 1), size), None
    bitmap = (paste_window(probs, crop_box, window) > threshold).cpu().numpy()
    rows, columns = np.flatnonzero(bitmap.any(axis=1)), np.flatnonzero(bitmap.any(axis=0))
    tight = None
    if len(rows):
        tight = [int(window[0] + columns[0]), int(window[1] + rows[0]),
                 int(window[0] + columns[-1] + 1), int(window[1] + rows[-1] + 1)]
    return window_to_rle(bitmap, window, size), tight


def box_agreement(tight: Sequence[float | int] | None, box: Sequence[float | int], size: tuple[int, int]) -> float:
    """Return the IoU of the mask's tight box and the given box, which is cut to the image first."""
    if tight is None:
        return 0.0
    box = [min(max(value, 0), size[1 - i % 2]) for i, value in enumerate(box)]
    common = math.prod(max(min(tight[i + 2], box[i + 2]) - max(tight[i], box[i]), 0) for i in (0, 1))
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (tight, box)]
    return common / (sum(areas) - common)


def box_fill(area: int, window: Window) -> float:
    """Return the part of a box's pixels (``window``) that a mask of ``area`` pixels has, at most 1."""
    pixels = (window[2] - window[0]) * (window[3] - window[1])
    return min(area / pixels, 1.0) if pixels else 0.0


def fill_plausibility(fill: float) -> float:
    """Return how far the filled part of a box, in [0, 1], speaks for a mask.

    From 0 at 0 it rises to 1 at the first of :data:`USUAL_FILL`, stays, and falls from the second to :data:`FULL_BOX`
    at 1: screens and books do fill their boxes, but so does a model that has learnt nothing.
    """
    low, high = USUAL_FILL
    if fill <= high:
        return min(fill / low, 1.0)
    return 1 - (1 - FULL_BOX) * (fill - high) / (1 - high)
