"""Prompts as users give them, in pixels of the original image, checked and put into the network's form.

Legend: N objects, P points, h w pixels of the dense prompt (a quarter of the input).
"""
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskforge.models.sam2.input_scaling import InputScaling
from maskforge.models.sam2.structures import Prompts

POSITIVE, NEGATIVE, BOX_START, BOX_END, PADDING = 1, 0, 2, 3, -1
#: pixels by which a coordinate may lie outside of the image; it is moved to the border
TOLERANCE = 0.5
Given = np.ndarray | Tensor | Sequence | None


class UserPrompts:
    """Turns arrays into :class:`~maskforge.models.sam2.structures.Prompts`.

    Args:
        scaling: of the network's input.
        mask_size: (h, w) of dense prompts.
        device: of the result.
    """

    def __init__(self, scaling: InputScaling, mask_size: tuple[int, int], device: torch.device) -> None:
        self.scaling, self.mask_size, self.device = scaling, tuple(mask_size), device

    def read(self, size: tuple[int, int], *, point_coords: Given = None, point_labels: Given = None, box: Given = None,
             mask_input: Given = None) -> tuple[Prompts, bool]:
        """Return the prompts, and whether they were given with an axis of objects.

        Args:
            size: (H, W) of the original image.
            point_coords: (P, 2) or (N, P, 2), x and y in pixels of the original.
            point_labels: (P,) or (N, P): 1 inside, 0 outside, -1 no point (fills up shorter rows).
            box: (4,) or (N, 4) xyxy in pixels of the original.
            mask_input: (h, w), (1, h, w) or (N, 1, h, w) logits of an earlier prediction.

        Raises:
            ValueError: nothing given, a shape, label or number of objects that does not fit, a coordinate outside of
                the image; the message names it.
        """
        points, labels = self._points(point_coords, point_labels, size)
        corners = self._box(box, size)
        masks = self._masks(mask_input)
        counts = {name: len(given) for name, given in (('point_coords', points), ('box', corners),
                                                       ('mask_input', masks)) if given is not None}
        if not counts:
            raise ValueError('nothing to segment: give point_coords with point_labels, box or mask_input.')
        if len(set(counts.values())) > 1:
            raise ValueError('the prompts are of different numbers of objects: '
                             + ', '.join(f'{count} in {name}' for name, count in counts.items()) + '.')
        if corners is not None:
            first = torch.tensor([[BOX_START, BOX_END]]).expand(len(corners), -1)
            points, labels = ((corners, first) if points is None else
                              (torch.cat((corners, points), 1), torch.cat((first, labels), 1)))
        if points is not None:
            points, labels = self.scaling.points(points, size).to(self.device), labels.to(self.device)
        has_axis = any(given is not None and np.ndim(_array(given)) == axes for given, axes in
                       ((point_coords, 3), (box, 2), (mask_input, 4)))
        return Prompts(points, labels, None if masks is None else masks.to(self.device)), has_axis

    def _points(self, coords: Given, labels: Given, size: tuple[int, int]) -> tuple[Tensor | None, Tensor | None]:
        if (coords is None) != (labels is None):
            present, missing = ('point_coords', 'point_labels') if labels is None else ('point_labels', 'point_coords')
            raise ValueError(f'{present} is given without {missing}: every point has a label, 1 inside or 0 outside.')
        if coords is None:
            return None, None
        points, marks = _array(coords), _array(labels)
        if points.ndim not in (2, 3) or points.shape[-1] != 2 or 0 in points.shape:
            raise ValueError(f'point_coords must be (points, 2) or (objects, points, 2), got {points.shape}.')
        if marks.shape != points.shape[:-1]:
            raise ValueError(f'point_labels must be {points.shape[:-1]} for point_coords of {points.shape}, got '
                             f'{marks.shape}.')
        allowed = (POSITIVE, NEGATIVE, PADDING)
        if not np.isin(marks, allowed).all():
            wrong = marks[~np.isin(marks, allowed)].flat[0]
            raise ValueError(f'point_labels has {wrong}; allowed are 1 (inside), 0 (outside), -1 (no point).')
        points = points.reshape(-1, *points.shape[-2:]).astype(np.float32)
        marks = marks.reshape(points.shape[:2]).astype(np.int64)
        points[marks == PADDING] = 0
        return _inside(points, size, 'point_coords'), torch.from_numpy(marks)

    def _box(self, box: Given, size: tuple[int, int]) -> Tensor | None:
        if box is None:
            return None
        boxes = _array(box).astype(np.float32)
        if boxes.ndim not in (1, 2) or boxes.shape[-1] != 4:
            raise ValueError(f'box must be (4,) or (objects, 4), x0 y0 x1 y1, got {boxes.shape}.')
        boxes = boxes.reshape(-1, 4)
        flat = ~(boxes[:, 2:] > boxes[:, :2]).all(1)
        if flat.any():
            raise ValueError(f'box {boxes[flat][0].tolist()} has no extent: x1 > x0 and y1 > y0 are asked for.')
        return _inside(boxes.reshape(-1, 2, 2), size, 'box')

    def _masks(self, masks: Given) -> Tensor | None:
        if masks is None:
            return None
        logits = torch.as_tensor(_array(masks), dtype=torch.float32)
        allowed = {2: self.mask_size, 3: (1, *self.mask_size), 4: (len(logits), 1, *self.mask_size)}
        if tuple(logits.shape) != allowed.get(logits.ndim):
            raise ValueError(f'mask_input must be the low_res_logits of an earlier prediction, (1, {self.mask_size[0]},'
                             f' {self.mask_size[1]}) or (objects, 1, {self.mask_size[0]}, {self.mask_size[1]}), got '
                             f'{tuple(logits.shape)}.')
        return logits.reshape(-1, 1, *self.mask_size)


def _inside(points: np.ndarray, size: tuple[int, int], name: str) -> Tensor:
    """(N, P, 2) points, those a little outside moved to the border."""
    limit = np.array([size[1], size[0]], np.float32)
    outside = ~((points >= -TOLERANCE) & (points <= limit + TOLERANCE)).all(-1)
    if outside.any():
        index, point = np.argwhere(outside)[0].tolist()
        x, y = points[index, point].tolist()
        raise ValueError(f'{name} of object {index}: ({x:g}, {y:g}) is outside of the image, which is {size[1]} pixels '
                         f'wide and {size[0]} high; coordinates are x, y in pixels of the original image.')
    return torch.from_numpy(points.clip(0, limit))


def _array(given: Any) -> np.ndarray:
    return given.detach().cpu().float().numpy() if isinstance(given, Tensor) else np.asarray(given)
