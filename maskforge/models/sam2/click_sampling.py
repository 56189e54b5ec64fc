"""Clicks and boxes of a simulated user.

Legend: N objects, H W pixels of the network's input.
"""
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from maskforge.models.sam2.center_click import center_click
from maskforge.models.sam2.user_prompts import BOX_END, BOX_START, NEGATIVE, PADDING
from maskforge.ops.device_values import on_device

#: a box's sides move by at most this part of its extent, and by at most so many pixels
BOX_NOISE, BOX_NOISE_PIXELS = 0.1, 20.

Masks = Bool[Tensor, 'N 1 H W']
Points = tuple[Float[Tensor, 'N P 2'], Int[Tensor, 'N P']]


def sample_click(truth: Masks, predicted: Masks | None, noise: Float[Tensor, ' N'], *,
                 sampling: str = 'uniform') -> Points:
    """Return one click per object, x, y in pixel indices and label.

    Args:
        predicted: the click is on what it has wrong: positive where it lacks the object, negative where it has too
            much. None is an empty mask, so that the click is in the object.
        noise: in [0, 1): which of the wrong pixels, each with the same chance. Where nothing is wrong (as for an absent
            object that is predicted to be absent) it is one of the background; where there is no background, one of
            the object.
        sampling: 'uniform'; or 'center', the pixel deepest in the error (on the CPU, without noise).
    """
    if sampling == 'center':
        return _center_clicks(truth, predicted)
    wrong = truth if predicted is None else truth ^ predicted
    background = ~truth
    elsewhere = torch.where(_any(background), background, truth)
    place = pick_pixel(torch.where(_any(wrong), wrong, elsewhere)[:, 0], noise)
    labels = truth.flatten(1).gather(1, place[:, None]).long()
    return _coordinates(place, truth.shape[-1])[:, None], labels


def sample_box(truth: Masks, noise: Float[Tensor, '4 N']) -> Points:
    """Return the corners of each object's box with noise, as two points with the labels of corners.

    Sides are the outermost pixels' indices; they move by a number that is uniform within a tenth of the box's extent,
    at most 20 pixels, and stay in the image. An absent object has no box: it gets a negative click in the background
    and a point of padding, so that all objects of a frame have two points.

    Args:
        noise: in [0, 1), for x0, y0, x1, y1; an absent object's click takes the first.
    """
    height, width = truth.shape[-2:]
    left, right = _extent(truth.any(-2)[:, 0])
    top, bottom = _extent(truth.any(-1)[:, 0])
    boxes = torch.stack((left, top, right, bottom), 1)
    reach = ((boxes[:, 2:] - boxes[:, :2]) * BOX_NOISE).clamp(max=BOX_NOISE_PIXELS).repeat(1, 2)
    boxes = boxes + (2 * noise.T - 1).to(boxes.dtype) * reach
    boxes = boxes.clamp(min=0).minimum(on_device([width - 1, height - 1] * 2, boxes.device, dtype=boxes.dtype))
    click, _ = sample_click(truth, None, noise[0])
    present = _any(truth)[:, 0, 0]
    points = torch.where(present[..., None], boxes.unflatten(1, (2, 2)), torch.cat((click, torch.zeros_like(click)), 1))
    corners, instead = (on_device(pair, truth.device) for pair in ((BOX_START, BOX_END), (NEGATIVE, PADDING)))
    return points, torch.where(present, corners, instead)


def pick_pixel(allowed: Bool[Tensor, 'N H W'], noise: Float[Tensor, ' N']) -> Int[Tensor, ' N']:
    """Return the index, row by row, of the pixel that ``noise`` in [0, 1) points at among the allowed ones.

    With n of them, the k-th from 0 is that of noise in [k / n, (k + 1) / n).
    """
    counts = allowed.flatten(1).cumsum(1, dtype=torch.int32)
    total = counts[:, -1]
    wanted = (noise * total).to(torch.int32).minimum(total - 1) + 1
    return torch.searchsorted(counts, wanted[:, None])[:, 0]


def _any(masks: Masks) -> Bool[Tensor, 'N 1 1 1']:
    return masks.flatten(1).any(1)[:, None, None, None]


def _extent(line: Bool[Tensor, 'N S']) -> tuple[Float[Tensor, ' N'], Float[Tensor, ' N']]:
    """Index of the first and the last True."""
    first = line.int().argmax(1)
    last = line.shape[1] - 1 - line.flip(1).int().argmax(1)
    return first.float(), last.float()


def _coordinates(place: Int[Tensor, ' N'], width: int) -> Float[Tensor, 'N 2']:
    return torch.stack((place % width, place.div(width, rounding_mode='floor')), 1).float()


def _center_clicks(truth: Masks, predicted: Masks | None) -> Points:
    found = [None] * len(truth) if predicted is None else predicted[:, 0].cpu().numpy()
    clicks = torch.tensor([center_click(*pair) for pair in zip(truth[:, 0].cpu().numpy(), found)], device=truth.device)
    return clicks[:, None, :2], clicks[:, 2:].long()
