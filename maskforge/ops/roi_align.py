"""RoIAlign in float32 under any precision (He et al. 2017, section 3)."""
import functools
import importlib
from collections.abc import Sequence

import torch
import torchvision
from jaxtyping import Float, Int
from torch import Tensor, nn

from .exporting import is_recorded
from .fused_attention import INSTALLED
from .kernel_trial import works


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
        features, rois, samples = features.float(), rois.float(), max(sampling_ratio, 0)
        if can_align_levels([features]):
            levels = torch.zeros(len(rois), dtype=torch.long)
            return _pool([features], rois, levels, output_size, [spatial_scale], samples, aligned)
        return torchvision.ops.roi_align(features, rois, output_size, spatial_scale, samples or -1, aligned)


def can_align_levels(features: Sequence[Float[Tensor, 'B C _ _']]) -> bool:
    """Whether :func:`roi_align_levels` can be used: plain calls on the CPU, where numba is installed and works."""
    return all(map(_on_cpu, features)) and _loops_work()


def roi_align_levels(features: Sequence[Float[Tensor, 'B C _ _']], rois: Float[Tensor, 'N 5'],
                     levels: Int[Tensor, ' N'], *, output_size: int, spatial_scales: Sequence[float | int],
                     sampling_ratio: int = 0, aligned: bool = True) -> Float[Tensor, 'N C S S']:
    """:func:`roi_align` of regions that each have a level of their own, in the order of the regions.

    Args:
        levels: index of each region's level in ``features`` and ``spatial_scales``.
    """
    with torch.autocast('cpu', enabled=False):
        return _pool([level.float() for level in features], rois.float(), levels, output_size, spatial_scales,
                     max(sampling_ratio, 0), aligned)


def _on_cpu(features: Tensor) -> bool:
    """Whether this is a plain call, which nobody traces or compiles."""
    return features.device.type == 'cpu' and type(features) in (Tensor, nn.Parameter) and not is_recorded()


def _pool(features: Sequence[Tensor], rois: Tensor, levels: Tensor, side: int, scales: Sequence[float | int],
          samples: int, aligned: bool) -> Tensor:
    loops = importlib.import_module('.roi_align_numba', __package__)
    return loops.NumbaRoIAlign.apply(rois, levels, side, scales, samples, aligned, *features)


@functools.cache
def _loops_work() -> bool:
    """Whether the loops of :mod:`.roi_align_numba` compile and equal torchvision's; tried once, by a tiny example."""
    return INSTALLED['numba'] and works(
        _difference, 'cpu', otherwise='RoIAlign falls back to the slower one of torchvision: the numba loops fail here')


def _difference(device: str) -> str:
    """What differs from torchvision's, in the result or the gradient; empty if nothing does."""
    # waves, to leave the random generators alone
    features = torch.arange(2 * 3 * 5 * 6, dtype=torch.float32, device=device).sin().view(2, 3, 5, 6).requires_grad_()
    rois = torch.tensor([[0., 1., 2., 9., 7.], [1., -3., 0., 30., 4.]], device=device)
    pairs, levels = [], torch.zeros(2, dtype=torch.long, device=device)
    for pooled in (_pool([features], rois, levels, 2, [0.5], 0, True),
                   torchvision.ops.roi_align(features, rois, 2, 0.5, -1, True)):
        pairs.append((pooled, *torch.autograd.grad(pooled.square().sum(), features)))
    worst = max((one - other).abs().max().item() for one, other in zip(*pairs))
    return f'differs by {worst:.2g}' if not worst < 1e-4 else ''
