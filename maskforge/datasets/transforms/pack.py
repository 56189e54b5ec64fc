"""From a results dict to what the model takes."""
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import InstanceData, PixelData

from maskforge.registry import TRANSFORMS
from maskforge.structures import DetDataSample

from .ground_truth import instance_keys

FIELDS = {'gt_bboxes': 'bboxes', 'gt_bboxes_labels': 'labels', 'gt_masks': 'masks'}


@TRANSFORMS.register_module()
class PackDetInputs(BaseTransform):
    """Return dict(inputs=(3, H, W) tensor, data_samples=:class:`~maskforge.structures.DetDataSample`).

    Instances with ``gt_ignore_flags`` go to ``ignored_instances``, all others to ``gt_instances``; ``gt_xyz`` entries
    of a user's own become the field ``xyz``. ``gt_seg_map`` becomes ``gt_sem_seg.sem_seg`` (1, H, W).

    Args:
        meta_keys: entries of ``results`` that are kept as metainfo; those that a sample lacks are left out.
            ``min_batch_shape``, which :class:`FixedPad` sets, is always among them.
        dense_masks: draw the masks here, in the loader worker, for models that learn from all their pixels; kept at
            one bit a pixel (see :meth:`~maskforge.structures.InstanceMasks.with_pixels`).
    """

    def __init__(self, meta_keys: Sequence[str] = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor',
                                                   'flip', 'flip_direction'), *, dense_masks: bool = False):
        self.meta_keys, self.dense_masks = tuple(meta_keys), dense_masks

    def transform(self, results: dict) -> dict:
        keys = (*self.meta_keys, 'min_batch_shape')  # the data preprocessor pads by the last one
        sample = DetDataSample(metainfo={key: results[key] for key in keys if key in results})
        fields = {FIELDS.get(key, key.removeprefix('gt_')): results[key]
                  for key in instance_keys(results) if key != 'gt_ignore_flags'}
        ignored = results.get('gt_ignore_flags')
        every = next((len(value) for value in fields.values()), 0)
        ignored = np.zeros(every, dtype=bool) if ignored is None else ignored
        sample.gt_instances = _instances(fields, ~ignored)
        if self.dense_masks and 'masks' in sample.gt_instances:
            sample.gt_instances.masks = sample.gt_instances.masks.with_pixels()
        sample.ignored_instances = _instances(fields, ignored)
        if results.get('gt_seg_map') is not None:
            sem_seg = torch.from_numpy(np.ascontiguousarray(results['gt_seg_map'])[None])
            sample.gt_sem_seg = PixelData(sem_seg=sem_seg, metainfo={'ignore_index': results.get('ignore_index', 255)})
        return dict(inputs=channels_first(results['img']), data_samples=sample)


def _instances(fields: dict, chosen: np.ndarray) -> InstanceData:
    instances = InstanceData()
    for name, values in fields.items():
        picked = values[chosen]
        instances[name] = torch.from_numpy(picked) if isinstance(picked, np.ndarray) else picked
    return instances


def channels_first(img: np.ndarray) -> torch.Tensor:
    """(H, W, C) or (H, W) pixels as a (C, H, W) tensor."""
    img = img[..., None] if img.ndim == 2 else img
    planes = np.empty((img.shape[2], *img.shape[:2]), dtype=img.dtype)
    # ten times as fast as a permuted copy
    cv2.split(img, list(planes))
    return torch.from_numpy(planes)
