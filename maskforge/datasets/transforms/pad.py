"""Padding image and truth at the bottom and on the right."""
from collections.abc import Mapping, Sequence

from mmcv import transforms as mmcv_transforms

from maskforge.registry import TRANSFORMS

from .ground_truth import Number


@TRANSFORMS.register_module()
class Pad(mmcv_transforms.Pad):
    """Pad image, masks and segmentation map; sets ``img_shape`` and ``pad_shape``.

    Args:
        size: (width, height) to pad to.
        size_divisor: pad to a multiple of this.
        pad_to_square: pad to the longer side.
        pad_val: a number for the image, or dict(img=number or one per channel, seg=number, masks=0).
        padding_mode: 'constant', 'edge', 'reflect' or 'symmetric'; masks are always padded with nothing.
    """

    def __init__(self, size: Sequence[int] | None = None, size_divisor: int | None = None,
                 pad_to_square: bool = False, pad_val: Number | Mapping | None = None,
                 padding_mode: str = 'constant'):
        values = dict(pad_val) if isinstance(pad_val, Mapping) else {} if pad_val is None else {'img': pad_val}
        if values.pop('masks', 0) != 0:
            raise ValueError(f'Pad: masks can only be padded with 0, got pad_val={pad_val}')
        super().__init__(None if size is None else tuple(size), size_divisor, pad_to_square,
                         {'img': 0, 'seg': 255, **values}, padding_mode)

    def transform(self, results: dict) -> dict:
        results = super().transform(results)
        if results.get('gt_masks') is not None:
            results['gt_masks'] = results['gt_masks'].pad(results['img_shape'])
        return results
