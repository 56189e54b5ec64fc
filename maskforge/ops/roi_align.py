"""RoIAlign in float32 under any precision (He et al. 2017, section 3)."""
import torch
import torchvision
from jaxtyping import Float
from torch import Tensor


def roi_align(features: Float[Tensor, 'B C H W'], rois: Float[Tensor, 'N 5'], *, output_size: int,
              spatial_scale: float | int, sampling_ratio: int = 0, aligned: bool = True) -> Float[Tensor, 'N C S S']:
    """Average bilinear samples of ``features`` in each cell of an S x S grid over each region.

    Args:
        rois: image index, then xyxy in image pixels.
        output_size: S.
        spatial_scale: feature cells per image pixel (1 / stride).
        sampling_ratio: samples per cell and axis; 0 takes ceil(region size / S) of them.
        aligned: pixel i covers [i, i + 1), sampled at its centre; False is the older convention, half a pixel off
            and with regions of at least one cell.

    Returns:
        float32: half precision has too few bits for coordinates, and its CPU kernel does not exist.
    """
    with torch.autocast(features.device.type, enabled=False):
        return torchvision.ops.roi_align(features.float(), rois.float(), output_size, spatial_scale,
                                         sampling_ratio if sampling_ratio > 0 else -1, aligned)
