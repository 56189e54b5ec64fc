"""The truth of a batch as the losses take it."""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from maskforge.structures import DetDataSample


class MaskTargets(NamedTuple):
    """All images' targets, one image after another.

    Attributes:
        labels: class indices.
        masks: in the frame of the padded input.
        counts: targets per image.
    """

    labels: Int[Tensor, ' T']
    masks: Bool[Tensor, 'T H W']
    counts: tuple[int, ...]

    @classmethod
    def of(cls, data_samples: Sequence[DetDataSample], device: torch.device) -> 'MaskTargets':
        """Collect ``gt_instances.labels`` and ``.masks``.

        Raises:
            ValueError: samples without masks, or with masks of another size than the batch.
        """
        shape = tuple(data_samples[0].batch_input_shape)
        for sample in data_samples:
            _check(sample, shape)
        # image by image to the device, as bytes
        masks = [sample.gt_instances.masks.to_tensor(device) for sample in data_samples]
        labels = [sample.gt_instances.labels for sample in data_samples]
        return cls(torch.cat(labels).to(device), torch.cat(masks), tuple(map(len, labels)))


def _check(sample: DetDataSample, shape: tuple[int, int]) -> None:
    name = sample.metainfo.get('img_path', sample.metainfo.get('img_id', 'a sample'))
    if 'masks' not in sample.gt_instances:
        raise ValueError(f'{name}: Mask2Former learns from gt_instances.masks, which are missing. Load them in the '
                         f'pipeline: LoadAnnotations(with_bbox=True, with_mask=True), LoadPanopticAnnotations, or '
                         f'SemSegToInstances after LoadAnnotations(with_seg=True).')
    masks = sample.gt_instances.masks
    if (masks.height, masks.width) != shape:
        raise ValueError(f'{name}: masks of {masks.height} x {masks.width} pixels for a batch of {shape[0]} x '
                         f'{shape[1]}. Set data_preprocessor.pad_mask=True, which pads them with the images.')
