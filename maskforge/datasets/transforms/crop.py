"""Cutting a random window out of image and truth."""
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from maskforge.registry import TRANSFORMS
from maskforge.structures import sample_rng

from .ground_truth import VOID, Number, clip_boxes, has_extent, select_instances
from .shared_draw import shared_draw

#: so many windows are tried for one that no class fills
BALANCE_TRIES = 10
CROP_TYPES = ('absolute', 'absolute_range', 'relative', 'relative_range')


@TRANSFORMS.register_module()
class RandomCrop(BaseTransform):
    """Crop image, boxes, masks and segmentation map to a random window.

    Instances whose box (or, where masks are loaded, whose mask) has nothing in the window are dropped. Sets
    ``img_shape``.

    Args:
        crop_size: what ``crop_type`` says; images smaller than the window are cropped along the other side only.
        crop_type: 'absolute': (width, height) in pixels; 'absolute_range': both sides drawn from
            (lowest, highest) pixels; 'relative': (width, height) as shares of the image, in (0, 1];
            'relative_range': shares drawn from [width, 1] and [height, 1].
        allow_negative_crop: keep windows without an instance; otherwise the sample is given up (None) and the data
            set takes another one. Images without any instance are kept either way.
        recompute_bbox: take boxes from the cropped masks rather than cutting the old boxes.
        bbox_clip_border: cut boxes at the window's border.
        cat_max_ratio: of up to ten windows the first is taken in which no class of ``gt_seg_map`` fills this share or
            more of the labelled pixels, and at least two classes show; else the tenth. 1.0 takes any window.

    Raises:
        ValueError: ``crop_size`` does not fit ``crop_type``; ``cat_max_ratio`` is not in (0, 1], or is below 1
            without a ``gt_seg_map``.
    """

    def __init__(self, crop_size: Sequence[Number], crop_type: str = 'absolute', allow_negative_crop: bool = False,
                 recompute_bbox: bool = False, bbox_clip_border: bool = True, *, cat_max_ratio: Number = 1.0):
        if crop_type not in CROP_TYPES:
            raise ValueError(f'RandomCrop: crop_type must be one of {", ".join(CROP_TYPES)}, got {crop_type!r}')
        allowed = all(0 < side <= 1 for side in crop_size) if crop_type.startswith('relative') else \
            all(isinstance(side, int) and side > 0 for side in crop_size)
        if len(crop_size) != 2 or not allowed or (crop_type == 'absolute_range' and crop_size[0] > crop_size[1]):
            raise ValueError(f'RandomCrop: crop_size={crop_size} does not fit crop_type={crop_type!r}')
        if not 0 < cat_max_ratio <= 1:
            raise ValueError(f'RandomCrop: cat_max_ratio is a share in (0, 1], got {cat_max_ratio}')
        self.crop_size, self.crop_type, self.cat_max_ratio = tuple(crop_size), crop_type, cat_max_ratio
        self.allow_negative_crop, self.recompute_bbox = allow_negative_crop, recompute_bbox
        self.bbox_clip_border = bbox_clip_border

    def transform(self, results: dict) -> dict | None:
        left, top, right, bottom = window = self._choose_window(results)
        results['img'] = results['img'][top:bottom, left:right]
        results['img_shape'] = (bottom - top, right - left)
        if results.get('gt_seg_map') is not None:
            results['gt_seg_map'] = results['gt_seg_map'][top:bottom, left:right]
        if results.get('gt_masks') is not None:
            results['gt_masks'] = results['gt_masks'].crop(window)
        if results.get('gt_bboxes') is not None and not self._crop_boxes(results, window):
            return None
        return results

    def _choose_window(self, results: dict) -> tuple[int, int, int, int]:
        shape = results['img'].shape[:2]
        window = self._random_window(shape)
        if self.cat_max_ratio == 1:
            return window
        if results.get('gt_seg_map') is None:
            raise ValueError(f"RandomCrop(cat_max_ratio={self.cat_max_ratio}) needs results['gt_seg_map']: set "
                             'with_seg=True in LoadPanopticAnnotations or LoadAnnotations, or cat_max_ratio=1.0')
        for _ in range(BALANCE_TRIES - 1):
            if self._is_balanced(results, window):
                break
            window = self._random_window(shape)
        return window

    def _is_balanced(self, results: dict, window: tuple[int, int, int, int]) -> bool:
        left, top, right, bottom = window
        ignored = results.get('ignore_index', VOID)
        # a fifth of the time of numpy.unique, ten times a picture
        counts = np.bincount(results['gt_seg_map'][top:bottom, left:right].ravel(), minlength=ignored + 1)
        counts[ignored] = 0
        return np.count_nonzero(counts) > 1 and counts.max() < self.cat_max_ratio * counts.sum()

    def _crop_boxes(self, results: dict, window: tuple[int, int, int, int]) -> bool:
        """Move, cut and drop boxes; return whether the sample is worth keeping."""
        before = len(results['gt_bboxes'])
        boxes = results['gt_bboxes'] - np.tile(np.array(window[:2], dtype=np.float32), 2)
        clipped = clip_boxes(boxes, results['img_shape'])
        kept = has_extent(clipped)
        if self.bbox_clip_border:
            boxes = clipped
        if results.get('gt_masks') is not None:
            of_masks = results['gt_masks'].bboxes()
            kept &= has_extent(of_masks)
            boxes = of_masks if self.recompute_bbox else boxes
        results['gt_bboxes'] = boxes
        select_instances(results, kept)
        return bool(kept.any()) or self.allow_negative_crop or not before

    @shared_draw
    def _random_window(self, shape: tuple[int, int]) -> tuple[int, int, int, int]:
        rng = sample_rng()
        size = self._random_size(rng, shape)
        top, left = (int(rng.integers(0, side - cut + 1)) for side, cut in zip(shape, size))
        return left, top, left + size[1], top + size[0]

    def _random_size(self, rng: np.random.Generator, shape: tuple[int, int]) -> tuple[int, int]:
        width, height = self.crop_size
        if self.crop_type == 'absolute_range':
            return tuple(int(rng.integers(min(side, width), min(side, height) + 1)) for side in shape)
        if self.crop_type == 'absolute':
            return min(height, shape[0]), min(width, shape[1])
        if self.crop_type == 'relative_range':
            width, height = rng.uniform(width, 1), rng.uniform(height, 1)
        return max(int(shape[0] * height + 0.5), 1), max(int(shape[1] * width + 0.5), 1)
