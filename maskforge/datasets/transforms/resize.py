"""Resizing image and truth: to one size, to a random size in a range, to one of several sizes."""
from collections.abc import Sequence

import mmcv
from mmcv import transforms as mmcv_transforms

from maskforge.registry import TRANSFORMS
from maskforge.structures import sample_rng

from .ground_truth import Number, clip_boxes, scale_boxes
from .shared_draw import shared_draw


@TRANSFORMS.register_module()
class Resize(mmcv_transforms.Resize):
    """Resize image, boxes, masks and segmentation map.

    The map takes the same nearest pixels as masks in RLE form, whatever ``backend`` resizes the image.

    With ``keep_ratio`` the image is made as large as fits into ``scale`` (long and short side, in any order), each
    side rounded to the nearest pixel. Sets ``img_shape``, ``scale``, ``keep_ratio`` and ``scale_factor`` (x, y), the
    product over all resizes since loading.

    Args:
        scale: (width, height), or one number for both.
        scale_factor: a factor or (x, y) factors, instead of ``scale``.
        keep_ratio, clip_object_border, backend, interpolation: as mmcv's Resize.

    Raises:
        ValueError: neither or both of ``scale`` and ``scale_factor`` are given.
    """

    def __init__(self, scale: int | Sequence[int] | None = None, scale_factor: Number | Sequence[Number] | None = None,
                 keep_ratio: bool = False, clip_object_border: bool = True, backend: str = 'cv2',
                 interpolation: str = 'bilinear'):
        if (scale is None) == (scale_factor is None):
            raise ValueError(f'Resize needs either scale or scale_factor, got scale={scale}, '
                             f'scale_factor={scale_factor}')
        if scale_factor is not None:
            scale_factor = tuple(scale_factor) if isinstance(scale_factor, Sequence) else float(scale_factor)
        super().__init__(tuple(scale) if isinstance(scale, Sequence) else scale, scale_factor, keep_ratio,
                         clip_object_border, backend, interpolation)

    def transform(self, results: dict) -> dict:
        before = results.pop('scale_factor', (1., 1.))
        results = super().transform(results)
        if results.get('gt_masks') is not None:
            results['gt_masks'] = results['gt_masks'].resize(results['img_shape'])
        x, y = results['scale_factor']
        results['scale_factor'] = before[0] * x, before[1] * y
        return results

    def _resize_seg(self, results: dict) -> None:
        if results.get('gt_seg_map') is not None:
            results['gt_seg_map'] = mmcv.imresize(results['gt_seg_map'], results['img_shape'][::-1],
                                                  interpolation='nearest', backend='cv2')

    def _resize_bboxes(self, results: dict) -> None:
        if results.get('gt_bboxes') is None:
            return
        boxes = scale_boxes(results['gt_bboxes'], results['scale_factor'])
        results['gt_bboxes'] = clip_boxes(boxes, results['img_shape']) if self.clip_object_border else boxes


@TRANSFORMS.register_module()
class RandomResize(mmcv_transforms.RandomResize):
    """Resize to a random scale.

    Args:
        scale: (width, height), multiplied by one random number from ``ratio_range``; or two such pairs, between which
            long and short side are drawn independently.
        ratio_range: (lowest, highest) factor; for the first form of ``scale`` only.
        resize_type: the transform that resizes.
        **resize_kwargs: its other arguments, such as ``keep_ratio``.

    Raises:
        ValueError: ``scale`` and ``ratio_range`` fit neither form.
    """

    def __init__(self, scale: Sequence, ratio_range: Sequence[Number] | None = None, resize_type: str = 'Resize',
                 **resize_kwargs):
        self.scale = tuple(tuple(item) if isinstance(item, Sequence) else item for item in scale)
        self.ratio_range = None if ratio_range is None else tuple(ratio_range)
        single = len(self.scale) == 2 and not isinstance(self.scale[0], tuple)
        double = len(self.scale) == 2 and all(isinstance(item, tuple) and len(item) == 2 for item in self.scale)
        if not (double if self.ratio_range is None else single):
            raise ValueError('RandomResize takes scale=(w, h) with ratio_range=(low, high), or scale=[(w, h), (w, h)] '
                             f'without ratio_range; got scale={scale}, ratio_range={ratio_range}')
        self.resize_cfg = dict(type=resize_type, **resize_kwargs)
        self.resize = TRANSFORMS.build({'scale': 0, **self.resize_cfg})

    @shared_draw
    def _random_scale(self) -> tuple[int, int]:
        if self.ratio_range is None:
            return tuple(int(sample_rng().integers(min(side), max(side) + 1)) for side in zip(*self.scale))
        ratio = sample_rng().uniform(*self.ratio_range)
        return tuple(max(int(side * ratio), 1) for side in self.scale)


@TRANSFORMS.register_module()
class RandomChoiceResize(mmcv_transforms.RandomChoiceResize):
    """Resize to one of ``scales``, each as likely; sets ``scale_idx`` as well.

    Args:
        scales: list of (width, height) or of single numbers.
        resize_type, **resize_kwargs: as in :class:`RandomResize`.
    """

    def __init__(self, scales: Sequence, resize_type: str = 'Resize', **resize_kwargs):
        scales = [scales] if isinstance(scales, tuple) and not isinstance(scales[0], Sequence) else scales
        self.scales = [tuple(scale) if isinstance(scale, Sequence) else (scale, scale) for scale in scales]
        self.resize_cfg = dict(type=resize_type, **resize_kwargs)
        self.resize = TRANSFORMS.build({'scale': 0, **self.resize_cfg})

    @shared_draw
    def _random_select(self) -> tuple[tuple[int, int], int]:
        index = int(sample_rng().integers(len(self.scales)))
        return self.scales[index], index
