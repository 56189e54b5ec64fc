"""Dropping instances that are too small to learn from."""
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from maskforge.registry import TRANSFORMS

from .ground_truth import Number, select_instances


@TRANSFORMS.register_module()
class FilterAnnotations(BaseTransform):
    """Drop instances with a small box or mask, in every ``gt_*`` entry.

    Args:
        min_gt_bbox_wh: boxes must be wider and higher than this, in pixels.
        min_gt_mask_area: masks must have at least this many pixels.
        by_box, by_mask: which of the two are checked; at least one.
        keep_empty: MMDetection's name for: give the sample up (None) when nothing is left, so that the data set
            takes another one. False goes on without instances.
    """

    def __init__(self, min_gt_bbox_wh: Sequence[Number] = (1, 1), min_gt_mask_area: int = 1, by_box: bool = True,
                 by_mask: bool = False, keep_empty: bool = True):
        if not (by_box or by_mask):
            raise ValueError('FilterAnnotations needs by_box=True or by_mask=True')
        self.min_gt_bbox_wh, self.min_gt_mask_area = tuple(min_gt_bbox_wh), min_gt_mask_area
        self.by_box, self.by_mask, self.keep_empty = by_box, by_mask, keep_empty

    def transform(self, results: dict) -> dict | None:
        kept = np.ones(len(results['gt_bboxes']), dtype=bool)
        if self.by_box:
            boxes = results['gt_bboxes']
            kept &= ((boxes[:, 2:] - boxes[:, :2]) > self.min_gt_bbox_wh).all(axis=1)
        if self.by_mask:
            kept &= results['gt_masks'].areas() >= self.min_gt_mask_area
        if not kept.any() and self.keep_empty:
            return None
        if not kept.all():
            select_instances(results, kept)
        return results
