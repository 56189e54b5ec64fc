"""uint8 images to one normalised batch, on the model's device."""
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from mmengine.model import BaseDataPreprocessor
from mmengine.structures import PixelData
from torch import Tensor
from torch.nn import functional as F

from maskforge.registry import MODELS


@MODELS.register_module()
class DetDataPreprocessor(BaseDataPreprocessor):
    """Colour order, normalisation, then padding at the bottom and right with ``pad_value``.

    Legend: B images, C channels, H W pixels of the batch.

    Args:
        mean, std: per channel in the order after the colour swap, on the 0 to 255 scale; 1 or 3 values; both or none.
        pad_size_divisor: the batch's height and width are multiples of it.
        pad_value: value of the padding, after normalisation.
        pad_mask: pad ``gt_instances.masks`` to the batch's size as well.
        pad_seg: pad ``gt_sem_seg`` to the batch's size as well, with ``seg_pad_value``.
        bgr_to_rgb, rgb_to_bgr: reverse the channels; not both.
        non_blocking: copy to the device without waiting for it.

    Raises:
        ValueError: mean without std, lengths that differ or are not 1 or 3, a std that is not positive, both swaps.
    """

    def __init__(self, *, mean: Sequence[float | int] | None = None, std: Sequence[float | int] | None = None,
                 pad_size_divisor: int = 1, pad_value: float | int = 0, pad_mask: bool = False,
                 pad_seg: bool = False, seg_pad_value: int = 255, bgr_to_rgb: bool = False, rgb_to_bgr: bool = False,
                 non_blocking: bool = True) -> None:
        super().__init__(non_blocking=non_blocking)
        _check(mean, std, bgr_to_rgb, rgb_to_bgr)
        # not persistent: the values are the config's, checkpoints of other libraries do not have them
        for name, values in (('mean', mean), ('std', std)):
            tensor = None if values is None else torch.tensor([float(v) for v in values]).view(-1, 1, 1)
            self.register_buffer(name, tensor, persistent=False)
        self.pad_size_divisor, self.pad_value, self.pad_mask = pad_size_divisor, float(pad_value), pad_mask
        self.pad_seg, self.seg_pad_value = pad_seg, seg_pad_value
        self.bgr_to_rgb, self.swap_channels = bgr_to_rgb, bgr_to_rgb or rgb_to_bgr

    @property
    def channel_order(self) -> str:
        """'RGB' or 'BGR': what the network sees, images being read as BGR."""
        return 'RGB' if self.swap_channels else 'BGR'

    def forward(self, data: dict, training: bool = False) -> dict:
        """Return ``dict(inputs=(B, C, H, W) float32, data_samples)``.

        The samples get ``batch_input_shape`` (the batch's) and ``pad_shape`` (the image's own size rounded up to the
        divisor; the batch beyond it exists only because another image is larger, or because a sample asks for a
        ``min_batch_shape``).
        """
        data = self.cast_data(data)
        images = [self._normalise(image) for image in data['inputs']]
        samples = data.get('data_samples')
        batch = self._pad(images, [sample.get('min_batch_shape', (0, 0)) for sample in samples or ()])
        for sample, image in zip(samples or (), images):
            self._annotate(sample, image, tuple(batch.shape[-2:]))
        return {'inputs': batch, 'data_samples': samples}

    def normalise(self, images: Float[Tensor, '*B C H W']) -> Float[Tensor, '*B C H W']:
        """Return (images - mean) / std; the channels are in the network's order already."""
        return images if self.mean is None else (images - self.mean) / self.std

    def _normalise(self, image: Tensor) -> Tensor:
        if self.swap_channels and image.shape[0] == 3:
            image = image.flip(0)
        return self.normalise(image.float())

    def _rounded(self, size: int) -> int:
        return math.ceil(size / self.pad_size_divisor) * self.pad_size_divisor

    def _pad(self, images: list[Tensor], least: Sequence[tuple[int, int]]) -> Tensor:
        sizes = [*(tuple(image.shape[-2:]) for image in images), *least]
        height, width = (self._rounded(max(size[axis] for size in sizes)) for axis in (0, 1))
        return torch.stack([F.pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2]),
                                  value=self.pad_value) for image in images])

    def _annotate(self, sample, image: Tensor, shape: tuple[int, int]) -> None:
        height, width = image.shape[-2:]
        sample.set_metainfo(dict(batch_input_shape=shape, pad_shape=(self._rounded(height), self._rounded(width))))
        if 'img_shape' not in sample:
            sample.set_metainfo(dict(img_shape=(height, width)))
        if self.pad_mask and 'masks' in sample.get('gt_instances', ()):
            sample.gt_instances.masks = sample.gt_instances.masks.pad(shape)
        if self.pad_seg and 'gt_sem_seg' in sample:
            seg = sample.gt_sem_seg.sem_seg
            # a new PixelData: its shape cannot change
            sample.gt_sem_seg = PixelData(sem_seg=F.pad(
                seg, (0, shape[1] - seg.shape[-1], 0, shape[0] - seg.shape[-2]), value=self.seg_pad_value))


def _check(mean: Sequence | None, std: Sequence | None, bgr_to_rgb: bool, rgb_to_bgr: bool) -> None:
    if (mean is None) != (std is None):
        raise ValueError('data_preprocessor: mean and std are given together or not at all.')
    if mean is not None and (len(mean) != len(std) or len(mean) not in (1, 3)):
        raise ValueError(f'data_preprocessor: mean and std must have 1 or 3 values each, '
                         f'got {len(mean)} and {len(std)}.')
    if std is not None and min(std) <= 0:
        raise ValueError(f'data_preprocessor: std must be positive, got {list(std)}.')
    if bgr_to_rgb and rgb_to_bgr:
        raise ValueError('data_preprocessor: bgr_to_rgb and rgb_to_bgr exclude each other.')
