"""Regions of interest to fixed-size features, each from the pyramid level that suits its size."""
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from maskforge.ops import box_area, can_align_levels, roi_align, roi_align_levels
from maskforge.ops.exporting import is_recorded
from maskforge.registry import MODELS


@MODELS.register_module()
class RoIAlign(nn.Module):
    """RoIAlign on one level; see :func:`maskforge.ops.roi_align`.

    Args:
        output_size: side of the grid.
        spatial_scale: feature cells per image pixel; ``SingleRoIExtractor`` sets it from its strides.
        sampling_ratio: samples per cell and axis, 0 is adaptive.
        aligned: half-pixel convention; False is what torchvision's Mask R-CNN uses.
    """

    def __init__(self, output_size: int, *, spatial_scale: float | int = 1.0, sampling_ratio: int = 0,
                 aligned: bool = True) -> None:
        super().__init__()
        self.output_size, self.spatial_scale = output_size, float(spatial_scale)
        self.sampling_ratio, self.aligned = sampling_ratio, aligned

    def forward(self, features: Float[Tensor, 'B C H W'], rois: Float[Tensor, 'N 5']) -> Float[Tensor, 'N C S S']:
        """Return the pooled regions, float32."""
        return roi_align(features, rois, output_size=self.output_size, spatial_scale=self.spatial_scale,
                         sampling_ratio=self.sampling_ratio, aligned=self.aligned)


@MODELS.register_module()
class SingleRoIExtractor(nn.Module):
    """Pools each region from one level (Lin et al. 2017, equation 1).

    Args:
        roi_layer: config of the pooling layer.
        out_channels: channels of the levels.
        featmap_strides: pixels per cell of the levels that are used, finest first.
        finest_scale: regions with sqrt(area) below twice this many pixels go to the finest level.
    """

    def __init__(self, roi_layer: dict, out_channels: int, featmap_strides: Sequence[int], *,
                 finest_scale: int = 56) -> None:
        super().__init__()
        self.out_channels, self.finest_scale = out_channels, finest_scale
        self.featmap_strides = tuple(featmap_strides)
        self.roi_layers = nn.ModuleList(MODELS.build({**roi_layer, 'spatial_scale': 1 / s}) for s in featmap_strides)

    @property
    def num_inputs(self) -> int:
        """Levels that are used."""
        return len(self.roi_layers)

    def map_roi_levels(self, rois: Float[Tensor, 'N 5']) -> Int[Tensor, ' N']:
        """Return the level of each region: floor(log2(sqrt(area) / finest_scale)), clamped."""
        level = (box_area(rois[:, 1:]).sqrt() / self.finest_scale + 1e-6).log() / math.log(2.0)
        return level.floor().clamp(0, self.num_inputs - 1).long()

    def forward(self, features: Sequence[Float[Tensor, 'B C _ _']],
                rois: Float[Tensor, 'N 5']) -> Float[Tensor, 'N C S S']:
        """Pool regions (image index, xyxy in pixels) from the levels; levels beyond the strides are not used."""
        levels, layers = self.map_roi_levels(rois), self.roi_layers
        if all(type(layer) is RoIAlign for layer in layers) and can_align_levels(features[:len(layers)]):
            return roi_align_levels(features[:len(layers)], rois, levels, output_size=layers[0].output_size,
                                    spatial_scales=[layer.spatial_scale for layer in layers],
                                    sampling_ratio=layers[0].sampling_ratio, aligned=layers[0].aligned)
        rows = self._rows_by_level(levels)
        # an empty level stays in the graph: every parameter gets a gradient, as DDP wants
        pooled = [layer(level, rois[chosen]) for layer, level, chosen in zip(layers, features, rows)]
        # back to the order of the regions by a gather: exporters write a scatter of no rows wrongly
        return torch.cat(pooled)[torch.cat(rows).argsort()]

    def _rows_by_level(self, levels: Int[Tensor, ' N']) -> Sequence[Int[Tensor, ' _']]:
        members = [levels == index for index in range(self.num_inputs)]
        if is_recorded():
            return [member.nonzero()[:, 0] for member in members]
        # the host waits for the device once, not once a level
        return levels.argsort(stable=True).split(torch.stack([member.sum() for member in members]).tolist())
