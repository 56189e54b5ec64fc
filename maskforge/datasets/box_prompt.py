"""One sample per box, with the whole image: what promptable models label."""
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskforge.registry import DATASETS
from maskforge.structures import DetDataSample

from .box_crop import BoxCropDataset, truth_of_box

CROP_SETTINGS = frozenset({'crop_size', 'min_obj_size', 'max_obj_size', 'margin_rate', 'test_margin_rate', 'flip_prob',
                           'border', 'resample', 'wrap_box_mask'})


@DATASETS.register_module()
class BoxPromptDataset(BoxCropDataset):
    """Every box of a COCO file as a prompt in its image, which is not cut and not resized.

    A sample is ``dict(inputs=(3, H, W) uint8 BGR, data_samples)``. The data sample's metainfo: ``img_id``,
    ``img_path``, ``ori_shape``, ``img_shape``, ``ann_id``, ``category_id``, ``box`` (xyxy, clipped to the image),
    ``box_area``; ``gt_instances`` as in :class:`BoxCropDataset`. Boxes of one image follow one another and share their
    ``inputs``.

    Args:
        args, kwargs: as in :class:`BoxCropDataset`, without its settings of crops.

    Raises:
        ValueError: a setting of crops, or ``test_mode=False``; else as in :class:`BoxCropDataset`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        without_effect = sorted(CROP_SETTINGS & kwargs.keys())
        if without_effect or not kwargs.get('test_mode', True):
            named = ', '.join(without_effect) or 'test_mode=False'
            raise ValueError(f'BoxPromptDataset cuts and draws nothing, so {named} would have no effect: remove it, or '
                             'use BoxCropDataset.')
        self._inputs_of: tuple[np.ndarray, Tensor] | None = None
        super().__init__(*args, **{**kwargs, 'test_mode': True})

    def prepare_data(self, idx: int) -> dict[str, Any]:
        """Read the image, or take the last one."""
        record = self.get_data_info(idx)
        image = self._read(record)
        if self._inputs_of is None or self._inputs_of[0] is not image:
            self._inputs_of = image, torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        size = image.shape[:2]
        sample = DetDataSample(metainfo=dict(
            img_id=record['img_id'], img_path=record['img_path'], ori_shape=size, img_shape=size,
            ann_id=record['ann_id'], category_id=record['category_id'], box=record['box'],
            box_area=record['box_area']))
        sample.gt_instances = truth_of_box(record, size)
        return dict(inputs=self._inputs_of[1], data_samples=sample)
