"""uint8 crops to what student and teacher see, on the model's device."""
from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from maskforge.ops import photometric
from maskforge.ops.device_values import on_device
from maskforge.registry import MODELS

#: by their numbers in the drawn order
JITTERS = (photometric.adjust_brightness, photometric.adjust_contrast, photometric.adjust_saturation,
           photometric.adjust_hue)


@MODELS.register_module()
class BoxCropPreprocessor(BaseDataPreprocessor):
    """Colour order, the student's augmentation and normalisation, for a batch of crops of one size.

    In training the student's crops are changed by the amounts that the data set has drawn (``sample.photometric``):
    colour jitter, grey, blur. The teacher's stay as they are.

    Args:
        mean, std: RGB, on the 0 to 255 scale.
        bgr_to_rgb: reverse the channels, images being read as BGR.
        non_blocking: copy to the device without waiting for it.
    """

    def __init__(self, *, mean: Sequence[float | int] = (123.675, 116.28, 103.53),
                 std: Sequence[float | int] = (58.395, 57.12, 57.375), bgr_to_rgb: bool = True,
                 non_blocking: bool = True) -> None:
        super().__init__(non_blocking=non_blocking)
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f'BoxCropPreprocessor: mean={list(mean)} and std={list(std)} need three values each, std '
                             f'positive ones.')
        for name, values in (('mean', mean), ('std', std)):
            self.register_buffer(name, torch.tensor([float(v) for v in values]).view(3, 1, 1), persistent=False)
        self.bgr_to_rgb = bgr_to_rgb

    def forward(self, data: dict, training: bool = False) -> dict:
        """Return ``dict(inputs, data_samples)``.

        ``inputs`` is (B, 3, c, c) float32, in training ``dict(student=..., teacher=...)`` of two such batches.
        """
        data = self.cast_data(data)
        crops = torch.stack(list(data['inputs']))
        crops = (crops.flip(1) if self.bgr_to_rgb else crops).float()
        samples = data.get('data_samples')
        clean = self.normalise(crops)
        if not training:
            return dict(inputs=clean, data_samples=samples)
        drawn = [sample.metainfo.get('photometric') or {} for sample in samples]
        with torch.autocast(crops.device.type, enabled=False):  # colours lose too much in half precision
            changed = self.normalise(augment(crops, drawn))
        return dict(inputs=dict(student=changed, teacher=clean), data_samples=samples)

    def normalise(self, crops: Float[Tensor, '*B 3 c c']) -> Float[Tensor, '*B 3 c c']:
        """Return (crops - mean) / std."""
        return (crops - self.mean) / self.std


def augment(crops: Float[Tensor, 'B 3 c c'], drawn: Sequence[dict]) -> Float[Tensor, 'B 3 c c']:
    """Apply each crop's drawn amounts; crops of the same change go through it together.

    Args:
        crops: RGB in [0, 255].
        drawn: as :func:`maskforge.datasets.box_crop.draw_photometric` makes them.
    """
    crops = crops.clone()
    for position in range(len(JITTERS)):
        for number, change in enumerate(JITTERS):
            rows = [row for row, one in enumerate(drawn) if 'order' in one and one['order'][position] == number]
            _change(crops, rows, change, [drawn[row]['amounts'][number] for row in rows])
    rows = [row for row, one in enumerate(drawn) if one.get('grey')]
    _change(crops, rows, lambda images, _: photometric.to_grey(images).expand_as(images), [0.0] * len(rows))
    rows = [row for row, one in enumerate(drawn) if one.get('blur')]
    sigmas = [drawn[row]['blur'] for row in rows]
    _change(crops, rows, partial(photometric.gaussian_blur, largest=max(sigmas, default=0.)), sigmas)
    return crops


def _change(crops: Tensor, rows: list[int], change, amounts: list[float]) -> None:
    if rows:
        index = on_device(rows, crops.device)
        crops[index] = change(crops[index], on_device(amounts, crops.device, dtype=crops.dtype))
