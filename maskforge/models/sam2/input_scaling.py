"""Between images of any size and the network's input.

Legend: B images, H W pixels of the original, h w pixels of the input.
"""
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from maskforge.ops.device_values import on_device

#: RGB, of values 0 .. 255
IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class InputScaling:
    """Resizes to the input (the aspect ratio is not kept, as the released models were trained) and normalises.

    Args:
        input_size: (h, w).
        mean, std: three numbers, RGB.
    """

    def __init__(self, input_size: tuple[int, int], *, mean: Sequence[float] = IMAGENET_MEAN,
                 std: Sequence[float] = IMAGENET_STD) -> None:
        self.input_size = tuple(input_size)
        self.mean, self.std = (torch.tensor(list(values), dtype=torch.float32).view(3, 1, 1) for values in (mean, std))

    def images(self, images: UInt8[Tensor, 'B 3 H W'], device: torch.device) -> Float[Tensor, 'B 3 h w']:
        """Return BGR images resized (bilinear with antialiasing), as RGB, and normalised."""
        resized = images.to(device).float()
        if tuple(images.shape[-2:]) != self.input_size:
            resized = F.interpolate(resized, size=self.input_size, mode='bilinear', align_corners=False, antialias=True)
        return (resized.flip(1) - self.mean.to(device)) / self.std.to(device)

    def points(self, points: Float[Tensor, '*lead 2'], size: tuple[int, int]) -> Float[Tensor, '*lead 2']:
        """Return x, y in pixels of the input from those of an image of ``size`` (H, W)."""
        factors = [self.input_size[1] / size[1], self.input_size[0] / size[0]]
        return points * on_device(factors, points.device, dtype=points.dtype)


def bgr_tensor(image: np.ndarray, *, channels: str = 'bgr', source: str = 'image') -> UInt8[Tensor, '3 H W']:
    """Return a (H, W, 3) uint8 array as BGR tensor.

    Args:
        channels: 'bgr', as cv2 reads, or 'rgb', as PIL reads.
        source: what messages call the image.

    Raises:
        ValueError: another shape or type, other ``channels``.
    """
    if channels not in ('bgr', 'rgb'):
        raise ValueError(f"channels={channels!r} is not one of 'bgr', 'rgb'.")
    array = np.asarray(image)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or not array.size:
        raise ValueError(f'{source}: an image is an array (H, W, 3) of uint8, got {array.shape} of {array.dtype}.')
    ordered = array if channels == 'bgr' else array[..., ::-1]
    return torch.from_numpy(np.ascontiguousarray(ordered.transpose(2, 0, 1)))
