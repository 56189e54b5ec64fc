"""From a record's instances to arrays."""
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio

from maskforge.formats.whole_image import check_whole
from maskforge.registry import TRANSFORMS
from maskforge.structures import InstanceMasks

from .ground_truth import clip_boxes, resized_by, scale_boxes


@TRANSFORMS.register_module()
class LoadAnnotations(BaseTransform):
    """Turn ``results['instances']`` into ``gt_bboxes``, ``gt_bboxes_labels``, ``gt_ignore_flags``, ``gt_masks``.

    The truth is put into the frame of the current image, so the transform may stand before or after a resize (not
    after a crop, a pad or a flip).

    Args:
        with_bbox: load ``gt_bboxes`` (N, 4) float32 xyxy and ``gt_ignore_flags`` (N,) bool.
        with_label: load ``gt_bboxes_labels`` (N,) int64.
        with_mask: load ``gt_masks`` as :class:`~maskforge.structures.InstanceMasks`; polygons and RLE alike.
        with_seg: load ``gt_seg_map`` (H, W) from ``results['seg_map_path']``.
        poly2mask: rasterise polygons at the size of the original image, as MMDetection's bitmaps; False keeps them
            exact through every resize. RLE is kept either way.
        box_type: 'hbox', or None, which means the same here.
        reduce_zero_label: in ``gt_seg_map``, ignore class 0 and count the others from 0.
        ignore_index: the value of ignored pixels in ``gt_seg_map``.
        imdecode_backend, backend_args: for reading the segmentation map, as mmcv has them.

    Raises:
        ValueError: an instance lacks what is asked for, or has a malformed mask; the frame cannot be followed; a
            segmentation map of another size, or with a class beyond ``results['num_classes']`` where that is known.
    """

    def __init__(self, with_bbox: bool = True, with_label: bool = True, with_mask: bool = False,
                 with_seg: bool = False, poly2mask: bool = True, box_type: str | None = 'hbox',
                 reduce_zero_label: bool = False, ignore_index: int = 255, *, imdecode_backend: str = 'cv2',
                 backend_args: dict | None = None):
        if box_type not in ('hbox', None):
            raise ValueError(f"LoadAnnotations: box_type must be 'hbox' (upright boxes), got {box_type!r}")
        self.with_bbox, self.with_label, self.with_mask, self.with_seg = with_bbox, with_label, with_mask, with_seg
        self.poly2mask, self.reduce_zero_label, self.ignore_index = poly2mask, reduce_zero_label, ignore_index
        self.imdecode_backend, self.backend_args = imdecode_backend, backend_args

    def transform(self, results: dict) -> dict:
        factors = resized_by(results)
        if self.with_bbox:
            boxes = np.array(_column(results, 'bbox'), dtype=np.float32).reshape(-1, 4)
            if factors != (1, 1):
                boxes = clip_boxes(scale_boxes(boxes, factors), results['img_shape'])
            results['gt_bboxes'] = boxes
            results['gt_ignore_flags'] = np.array([item.get('ignore_flag', 0) for item in results['instances']],
                                                  dtype=bool)
        if self.with_label:
            results['gt_bboxes_labels'] = np.array(_column(results, 'bbox_label'), dtype=np.int64)
        if self.with_mask:
            masks = InstanceMasks(_column(results, 'mask'), *results['ori_shape'])
            masks = InstanceMasks.from_rles(masks.to_rles(), *results['ori_shape']) if self.poly2mask else masks
            results['gt_masks'] = masks.resize(results['img_shape']) if factors != (1, 1) else masks
        if self.with_seg:
            self._load_seg_map(results)
        return results

    def _load_seg_map(self, results: dict) -> None:
        path = results.get('seg_map_path')
        if path is None:
            raise ValueError("LoadAnnotations(with_seg=True) needs results['seg_map_path']; give the data set "
                             "data_prefix=dict(seg=...) or set with_seg=False")
        content = fileio.get(path, backend_args=self.backend_args)
        check_whole(content, path)
        seg_map = mmcv.imfrombytes(content, flag='unchanged', backend=self.imdecode_backend) if content else None
        if seg_map is None or seg_map.shape[:2] != tuple(results['ori_shape']):
            turned = seg_map is not None and seg_map.shape[:2] == tuple(results['ori_shape'])[::-1]
            hint = ("; where EXIF data turn the photo but not its map, set color_type='color_ignore_orientation' in "
                    'LoadImageFromFile') if turned else ''
            raise ValueError(f'{path}: expected a segmentation map of (h, w) = {tuple(results["ori_shape"])}, got '
                             f'{"no image" if seg_map is None else seg_map.shape}{hint}')
        if seg_map.ndim == 3:
            raise ValueError(f'{path}: a segmentation map has one channel of class indices, got {seg_map.shape[2]}')
        if self.reduce_zero_label:
            seg_map = np.where((seg_map == 0) | (seg_map == self.ignore_index), self.ignore_index,
                               seg_map.astype(np.int64) - 1).astype(seg_map.dtype)
        self._check_classes(seg_map, path, results.get('num_classes'))
        height, width = results['img_shape']
        if seg_map.shape != (height, width):
            seg_map = mmcv.imresize(seg_map, (width, height), interpolation='nearest', backend='cv2')
        results['gt_seg_map'] = seg_map
        results['ignore_index'] = self.ignore_index

    def _check_classes(self, seg_map: np.ndarray, path: str, num_classes: int | None) -> None:
        """A class that the model does not have would end training on a GPU without a word of where it came from."""
        if num_classes is None or seg_map.max(initial=0) < num_classes:
            return
        found = np.flatnonzero(np.bincount(seg_map.ravel()))
        beyond = found[(found >= num_classes) & (found != self.ignore_index)] + self.reduce_zero_label
        if len(beyond):
            allowed = f'1 to {num_classes}, 0' if self.reduce_zero_label else f'0 to {num_classes - 1}'
            raise ValueError(f'{path} holds the value {beyond[0]}, but the data set has {num_classes} classes: allowed '
                             f'are {allowed} and {self.ignore_index} (ignored). Correct the map, add classes, or check '
                             f'reduce_zero_label={self.reduce_zero_label}')


def _column(results: dict, key: str) -> list:
    if 'instances' not in results:
        raise ValueError("LoadAnnotations needs results['instances'], which this data set did not fill; leave the "
                         'transform out of the pipeline where there are no annotations')
    missing = [i for i, item in enumerate(results['instances']) if key not in item]
    if missing:
        hint = ' (a data set of boxes only? set with_mask=False)' if key == 'mask' else ''
        raise ValueError(f"instance {missing[0]} has no '{key}'{hint}")
    return [item[key] for item in results['instances']]
