"""Colour changes of image batches on the device, each image with amounts of its own.

Legend: B images; RGB float32 in [0, 255].
"""
import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from maskforge.ops.device_values import on_device

Images = Float[Tensor, 'B 3 H W']
Amounts = Float[Tensor, ' B']
#: luma of ITU-R BT.601, as Pillow's conversion to grey
LUMA = (0.299, 0.587, 0.114)
WHITE = 255.


def to_grey(images: Images) -> Float[Tensor, 'B 1 H W']:
    """Return the luma."""
    return (images * on_device(LUMA, images.device, dtype=images.dtype).view(3, 1, 1)).sum(1, keepdim=True)


def adjust_brightness(images: Images, factors: Amounts) -> Images:
    """Multiply; 1 changes nothing."""
    return (images * _spread(factors)).clamp(0, WHITE)


def adjust_contrast(images: Images, factors: Amounts) -> Images:
    """Move away from the image's mean grey (factors above 1) or towards it."""
    mean = to_grey(images).mean((1, 2, 3), keepdim=True)
    return _blend(images, mean, factors)


def adjust_saturation(images: Images, factors: Amounts) -> Images:
    """Move away from the pixel's grey (factors above 1) or towards it."""
    return _blend(images, to_grey(images), factors)


def adjust_hue(images: Images, turns: Amounts) -> Images:
    """Turn the hue; 1 is a full circle."""
    high, low = images.amax(1), images.amin(1)
    chroma = high - low
    safe = torch.where(chroma == 0, torch.ones_like(chroma), chroma)
    red, green, blue = images.unbind(1)
    sector = torch.where(high == red, (green - blue) / safe % 6,
                         torch.where(high == green, (blue - red) / safe + 2, (red - green) / safe + 4))
    sector = (sector + 6 * turns[:, None, None]) % 6
    # how far each primary is from its own sector says how much of the chroma it has
    parts = []
    for primary in (0., 2., 4.):
        away = (sector - primary).abs()
        parts.append((2 - torch.minimum(away, 6 - away)).clamp(0, 1))
    return low[:, None] + chroma[:, None] * torch.stack(parts, dim=1)


def gaussian_blur(images: Images, sigmas: Amounts, *, largest: float | None = None) -> Images:
    """Blur with a standard deviation of ``sigmas`` pixels; borders are mirrored.

    Args:
        largest: of the sigmas, so that the host need not wait for the device to know it.
    """
    largest = float(sigmas.max()) if largest is None else largest
    reach = min(max(math.ceil(3 * largest), 1), min(images.shape[-2:]) - 1)
    steps = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernels = (-steps.square() / (2 * sigmas[:, None].square())).exp()
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(images.shape[1], 0)
    planes = F.pad(images, (reach,) * 4, mode='reflect').flatten(0, 1)[None]
    for shape in ((-1, 1, 1, len(steps)), (-1, 1, len(steps), 1)):
        planes = F.conv2d(planes, kernels.view(shape), groups=len(kernels))
    return planes[0].unflatten(0, images.shape[:2])


def _blend(images: Tensor, other: Tensor, factors: Tensor) -> Tensor:
    return (other + _spread(factors) * (images - other)).clamp(0, WHITE)


def _spread(values: Tensor) -> Tensor:
    return values[:, None, None, None]
