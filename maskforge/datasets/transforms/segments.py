"""Segments of panoptic and semantic maps as instances: one mask each."""
import logging

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log

from maskforge.formats.panoptic_json import Segments, read_segments
from maskforge.registry import TRANSFORMS
from maskforge.structures import InstanceMasks

from .ground_truth import VOID, has_extent, resized_by, select_instances


@TRANSFORMS.register_module()
class LoadPanopticAnnotations(BaseTransform):
    """Read ``results['panoptic_path']`` into ``gt_masks``, ``gt_bboxes``, ``gt_bboxes_labels``, ``gt_ignore_flags``.

    Things and stuff are one instance a segment, boxes are those of the masks. The truth is put into the frame of the
    current image, so the transform may stand before or after a resize (not after a crop, a pad or a flip).

    Segments without a pixel are left out; one that the PNG itself lacks is warned of.

    Args:
        with_seg: also fill ``gt_seg_map`` (H, W) with class indices, 255 for void and crowd.

    Raises:
        FileNotFoundError, ValueError: no such PNG, one of another size than the image, or with ids that the JSON file
            does not list.
    """

    def __init__(self, with_seg: bool = False) -> None:
        self.with_seg = with_seg
        self._warned = False

    def transform(self, results: dict) -> dict:
        factors = resized_by(results)
        labels = np.array([item['bbox_label'] for item in results['instances']], np.int64)
        ignored = np.array([item['ignore_flag'] for item in results['instances']], bool)
        segments = self._read(results)
        self._warn_of_missing(segments, results)
        masks = InstanceMasks.from_bitmaps(segments[None] == np.arange(1, len(labels) + 1)[:, None, None])
        masks = masks if factors == (1, 1) else masks.resize(results['img_shape'])
        results.update(gt_masks=masks, gt_bboxes=masks.bboxes(), gt_bboxes_labels=labels, gt_ignore_flags=ignored)
        select_instances(results, has_extent(results['gt_bboxes']))
        if self.with_seg:
            results.update(gt_seg_map=_class_map(segments, labels, ignored, results['img_shape']), ignore_index=VOID)
        return results

    @staticmethod
    def _read(results: dict) -> np.ndarray:
        """(H, W) int32 of the original image: 0, or the position of the segment in ``instances`` from 1."""
        if results.get('panoptic_path') is None:
            if results['instances']:
                raise ValueError("LoadPanopticAnnotations needs results['panoptic_path']; CocoPanopticDataset fills it")
            return np.zeros(results['ori_shape'], np.int32)
        ids = np.array([item['segment_id'] for item in results['instances']], np.int64)
        listed = Segments(ids, np.zeros(len(ids), np.int64), np.zeros(len(ids), bool))
        return read_segments(results['panoptic_path'], listed, size=results['ori_shape'])

    def _warn_of_missing(self, segments: np.ndarray, results: dict) -> None:
        seen = np.bincount(segments.ravel(), minlength=len(results['instances']) + 1)[1:]
        missing = [results['instances'][k]['segment_id'] for k in np.flatnonzero(seen == 0)]
        if missing and not self._warned:
            self._warned = True
            print_log(f'{results["panoptic_path"]} has no pixel of segment {missing[0]}, which the JSON file lists; '
                      'such segments are left out of training (further files are not reported).', 'current',
                      logging.WARNING)


def _class_map(segments: np.ndarray, labels: np.ndarray, ignored: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 class of every pixel at ``shape``."""
    if labels.max(initial=0) >= VOID:
        raise ValueError(f'LoadPanopticAnnotations(with_seg=True): class index {labels.max()} does not fit into an '
                         f'8-bit map whose value {VOID} is void')
    table = np.concatenate([[VOID], np.where(ignored, VOID, labels)]).astype(np.uint8)
    return mmcv.imresize(table[segments], shape[::-1], interpolation='nearest', backend='cv2')


@TRANSFORMS.register_module()
class SemSegToInstances(BaseTransform):
    """Add one instance per class of ``gt_seg_map``: ``gt_masks``, ``gt_bboxes``, ``gt_bboxes_labels``.

    Stands last, before packing: maps are cropped, flipped and resized more cheaply than masks. Existing instances are
    replaced.

    Args:
        ignore_index: pixels of this value belong to no instance; by default what ``LoadAnnotations`` used.
    """

    def __init__(self, ignore_index: int | None = None) -> None:
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        if results.get('gt_seg_map') is None:
            raise ValueError("SemSegToInstances needs results['gt_seg_map']: LoadAnnotations(with_seg=True) loads it")
        seg_map = results['gt_seg_map']
        ignored = results.get('ignore_index', VOID) if self.ignore_index is None else self.ignore_index
        labels = np.array([label for label in np.unique(seg_map).tolist() if label != ignored], np.int64)
        masks = InstanceMasks.from_bitmaps(seg_map[None] == labels[:, None, None])
        results.update(gt_masks=masks, gt_bboxes=masks.bboxes(), gt_bboxes_labels=labels,
                       gt_ignore_flags=np.zeros(len(labels), bool))
        return results
