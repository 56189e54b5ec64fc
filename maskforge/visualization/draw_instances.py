"""Draw boxes, masks and labels of one image. Masks are decoded one at a time, never as an N x H x W stack."""
from collections.abc import Sequence

import cv2
import numpy as np
from mmengine.structures import BaseDataElement, InstanceData
from pycocotools import mask as rle_codec
from torch import Tensor

from maskforge.structures import DetDataSample, InstanceMasks

from .canvas import Canvas, drawable_name, enlarged_copy
from .palette import Color, class_colors, distinct_color

_GREY = (150, 150, 150)


def draw_instances(image: np.ndarray,
                   instances: DetDataSample | InstanceData,
                   classes: Sequence[str] | None = None,
                   palette: Sequence | str | None = None,
                   score_thr: float = 0.3,
                   *,
                   alpha: float = 0.45,
                   line_width: int | None = None,
                   font_size: int | None = None,
                   color_by: str = 'class',
                   mask_palette: Sequence | str | None = None,
                   text_color: Color | None = None,
                   show_labels: bool = True,
                   min_side: int = 0) -> np.ndarray:
    """Return a copy of ``image`` with instances drawn on it.

    Args:
        image: (H, W, 3) uint8 BGR, or (H, W) grey.
        instances: ``InstanceData`` in the frame of ``image``, or a data sample: its predictions if it has any, its
            ground truth (and, in grey, its ignored regions) otherwise.
        classes: class names; labels without a name are drawn as ``#3``, and so are names for which no font is found.
        palette: RGB triples by class (see :func:`class_colors`).
        score_thr: predictions with a lower score are left out.
        alpha: opacity of masks, 0 (outline only) to 1.
        line_width, font_size: pixels; by default they follow the size of the picture.
        color_by: ``'class'`` or ``'instance'``.
        mask_palette: colours of masks where they differ from those of boxes.
        text_color: RGB; black or white by default, whichever reads better.
        show_labels: write names and scores.
        min_side: enlarge smaller pictures to this shorter side before drawing, so that labels fit; 0 keeps the size.

    Raises:
        ValueError: the image is not uint8 with 1 or 3 channels, masks of another size, an unknown ``color_by``.
    """
    if color_by not in ('class', 'instance'):
        raise ValueError(f"color_by={color_by!r} is not one of 'class', 'instance'.")
    groups = _groups(instances)
    pixels, scale = enlarged_copy(image, min_side)
    canvas = Canvas(pixels, line_width=line_width, font_size=font_size, text_color=text_color)
    brush = _Brush(canvas, scale, image.shape[:2], alpha)
    for group, ignored in groups:
        group = _above(group, score_thr)
        names = _names(group, classes, ignored=ignored)
        colors = [_GREY] * len(group) if ignored else _colors(group, palette, color_by)
        mask_colors = colors if ignored or mask_palette is None else _colors(group, mask_palette, color_by)
        brush.add(group, colors, mask_colors, names if show_labels else None)
    return pixels


def _groups(instances: BaseDataElement) -> list[tuple[InstanceData, bool]]:
    if isinstance(instances, InstanceData):
        return [(instances, False)]
    if 'pred_instances' in instances:
        return [(instances.pred_instances, False)]
    found = [(instances.get(name), name.startswith('ignored')) for name in ('ignored_instances', 'gt_instances')]
    return [(group, ignored) for group, ignored in found if group is not None and len(group)]


def _above(group: InstanceData, score_thr: float) -> InstanceData:
    return group[np.flatnonzero(_array(group.scores) >= score_thr)] if 'scores' in group else group


def _array(value: object) -> np.ndarray:
    if isinstance(value, Tensor):
        value = value.detach().float().cpu() if value.is_floating_point() else value.detach().cpu()
    return np.asarray(value)


def _names(group: InstanceData, classes: Sequence[str] | None, *, ignored: bool) -> list[str]:
    labels = _array(group.labels).tolist() if 'labels' in group else [None] * len(group)
    scores = _array(group.scores).tolist() if 'scores' in group else [None] * len(group)
    names = []
    for label, score in zip(labels, scores):
        name = '' if label is None else drawable_name(label, classes)
        parts = ['ignored'] * ignored + [name] + ([f'{score:.2f}'] if score is not None else [])
        names.append(' '.join(part for part in parts if part))
    return names


def _colors(group: InstanceData, palette: Sequence | str | None, color_by: str) -> list[Color]:
    """RGB colour of each instance."""
    if color_by == 'instance' or 'labels' not in group:
        return [distinct_color(index) for index in range(len(group))]
    labels = _array(group.labels).tolist()
    table = class_colors(palette, max(labels, default=-1) + 1)
    return [table[label] if label >= 0 else _GREY for label in labels]


class _Brush:
    """Draws groups of instances on one canvas."""

    def __init__(self, canvas: Canvas, scale: int, image_size: tuple[int, int], alpha: float) -> None:
        self.canvas, self.pixels = canvas, canvas.pixels
        self.scale, self.image_size, self.alpha = scale, image_size, alpha

    def add(self, group: InstanceData, colors: Sequence[Color], mask_colors: Sequence[Color],
            names: Sequence[str] | None) -> None:
        """Masks first (large under small), then boxes, then labels (best score first)."""
        boxes = _array(group.bboxes).reshape(-1, 4) if 'bboxes' in group else None
        if 'masks' in group:
            fallback = self._add_masks(group.masks, mask_colors)
            boxes = fallback if boxes is None else boxes
        if boxes is None:
            return
        corners = np.rint(boxes * self.scale).astype(int)
        for (x0, y0, x1, y1), color in zip(corners.tolist(), colors):
            cv2.rectangle(self.pixels, (x0, y0), (x1, y1), color[::-1], self.canvas.line_width)
        if names is not None:
            for box, color, name in zip(corners.tolist(), colors, names):
                self._add_label(box, color, name)

    def _add_masks(self, masks: object, colors: Sequence[Color]) -> np.ndarray:
        """Paint masks and return their (N, 4) boxes."""
        rles = masks.to_rles() if isinstance(masks, InstanceMasks) else _encode(masks)
        for rle in rles:
            if tuple(rle['size']) != tuple(self.image_size):
                raise ValueError(f'masks of size {tuple(rle["size"])} do not fit an image of size {self.image_size}.')
        boxes = rle_codec.toBbox(rles).reshape(-1, 4) if rles else np.zeros((0, 4))
        areas = rle_codec.area(rles) if rles else []
        for index in np.argsort(areas)[::-1]:
            self._add_mask(rles[index], boxes[index], colors[index][::-1])
        boxes[:, 2:] += boxes[:, :2]
        return boxes

    def _add_mask(self, rle: dict, box: np.ndarray, color: Color) -> None:
        x, y, width, height = (int(side) for side in box)
        if width == 0 or height == 0:
            return
        bitmap = np.ascontiguousarray(rle_codec.decode(rle)[y:y + height, x:x + width])
        s = self.scale
        if s > 1:
            bitmap = cv2.resize(bitmap, None, fx=s, fy=s, interpolation=cv2.INTER_NEAREST)
        region = self.pixels[y * s:(y + height) * s, x * s:(x + width) * s]
        painted = region[bitmap > 0] * (1 - self.alpha) + np.asarray(color) * self.alpha
        region[bitmap > 0] = np.rint(painted).astype(np.uint8)
        outlines, _ = cv2.findContours(bitmap, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(x * s, y * s))
        cv2.drawContours(self.pixels, outlines, -1, color, self.canvas.line_width, cv2.LINE_AA)

    def _add_label(self, box: Sequence[int], color: Color, name: str) -> None:
        if not name:
            return
        x0, y0, x1, y1 = box
        # small objects stand in crowds: smaller labels hide less of their neighbours
        font_size = self.canvas.font_size
        size = font_size if y1 - y0 > 2 * font_size else max(9, round(0.75 * font_size))
        text = self.canvas.text(name, size, color)
        h, w = text.shape[:2]
        self.canvas.put(text, ((x0, y0 - h), (x0, y0), (x1 - w, y0 - h), (x0, y1), (x0, y1 - h), (x1 - w, y1)))


def _encode(masks: object) -> list[dict]:
    """RLEs of a list of RLEs or of an (N, H, W) array or tensor."""
    if isinstance(masks, Sequence):
        return list(masks)
    return [rle_codec.encode(np.asfortranarray(mask, dtype=np.uint8)) for mask in _array(masks)]
