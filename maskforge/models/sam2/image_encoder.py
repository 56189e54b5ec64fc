"""The image encoder: Hiera trunk and feature pyramid (Ravi et al. 2024, section 4, "image encoder")."""
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.layers.linear import linear
from maskforge.models.sam2.hiera_block import HieraBlock

#: the pyramid's levels by stride
STRIDES = (4, 8, 16, 32)


class ImageEncoder(nn.Module):
    """Images to maps of strides 16, 8 and 4.

    Args:
        trunk: settings of :func:`~maskforge.models.sam2.presets.trunk_settings`.
        hidden_dim: C.
        top_down_levels: of the pyramid.
        drop_path_rate: of the trunk's last block; it grows linearly from 0.
        recompute: compute the trunk's blocks again in the backward pass.
    """

    def __init__(self, trunk: Mapping[str, Any], *, hidden_dim: int = 256, top_down_levels: Sequence[int] = (2, 3),
                 drop_path_rate: float | int = 0., recompute: bool = False) -> None:
        super().__init__()
        self.trunk = _hiera(trunk, drop_path_rate, recompute)
        widths = [trunk['embed_dim'] * 2**stage for stage in range(len(STRIDES))]
        self.neck = FeaturePyramid(widths, hidden_dim, top_down_levels=top_down_levels)

    def forward(self, images: Float[Tensor, 'B 3 H W'], *, after_s8: nn.Module | None = None,
                after_s4: nn.Module | None = None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the maps of stride 16, 8 and 4, the last two through the maps given (1x1), None without one."""
        if images.device.type == 'cpu':
            # so that the first map has its channels last as well, as the blocks take them
            images = images.contiguous(memory_format=torch.channels_last)
        levels = self.trunk.forward_intermediates(images, intermediates_only=True)
        return self.neck(levels, after_s8=after_s8, after_s4=after_s4)


class FeaturePyramid(nn.Module):
    """A 1x1 projection of every level; some levels get what lies below them, enlarged (Lin et al. 2017).

    Args:
        in_channels: of the levels of strides 4, 8, 16, 32.
        hidden_dim: C.
        top_down_levels: those of the levels 0 .. 3 that are summed from the top down, if the one above is.
    """

    def __init__(self, in_channels: Sequence[int], hidden_dim: int, *, top_down_levels: Sequence[int]) -> None:
        super().__init__()
        # the release counts from the lowest resolution
        self.convs = nn.ModuleList(nn.Sequential() for _ in in_channels)
        for conv, channels in zip(self.convs, reversed(in_channels)):
            conv.add_module('conv', nn.Conv2d(channels, hidden_dim, 1))
        self.top_down_levels = frozenset(top_down_levels)

    def forward(self, levels: Sequence[Float[Tensor, 'B _ _ _']], *, after_s8: nn.Module | None,
                after_s4: nn.Module | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the maps of stride 16, 8 and 4.

        The projection and the map after it are two linear ones with nothing between; where nothing else needs the
        projection, they run as one, which spares a map of C channels at the highest resolutions.
        """
        above, out = None, []
        for level, then in ((3, None), (2, None), (1, after_s8), (0, after_s4)):
            if level < 2 and then is None:
                out.append(None)
                continue
            needed_below = level > 0 and level - 1 in self.top_down_levels
            top = above if level in self.top_down_levels else None
            lateral = self.convs[len(self.convs) - 1 - level].conv
            if then is not None and top is None and not needed_below and _are_plain(lateral, then):
                out.append(_merged(levels[level], lateral, then))
                continue
            x = _mapped(levels[level], lateral.weight.flatten(1), lateral.bias) if _are_plain(lateral) else lateral(
                levels[level])
            above = x if top is None else x + _enlarge(top)
            out.append(above if then is None else then(above))
        return out[1], out[2], out[3]


def _enlarge(x: Tensor) -> Tensor:
    return F.interpolate(x.float(), scale_factor=2., mode='nearest')


def _are_plain(*maps: nn.Module) -> bool:
    # an adapter around a map has weights of its own
    return all(type(part) is nn.Conv2d for part in maps)


def _merged(x: Tensor, first: nn.Conv2d, second: nn.Conv2d) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        outer = second.weight.flatten(1)
        weight, bias = outer @ first.weight.flatten(1), outer @ first.bias + second.bias
    return _mapped(x, weight, bias)


def _mapped(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 1x1 convolution; the trunk's maps have their channels last, as a linear map takes them."""
    return linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)


def _hiera(trunk: Mapping[str, Any], drop_path_rate: float | int, recompute: bool) -> nn.Module:
    """timm's trunk without its classifier, initialised as the release's: torch's own way, position codes zero."""
    from maskforge.models.sam2.hiera_trunk import HieraTrunk  # timm takes half a second: paid by those who use it

    made = HieraTrunk(num_classes=0, embed_dim=trunk['embed_dim'], num_heads=trunk['num_heads'],
                      stages=tuple(trunk['stages']), window_spec=tuple(trunk['window_spec']),
                      global_att_blocks=tuple(trunk['global_att_blocks']),
                      global_pos_size=tuple(trunk['window_pos_embed_bkg_spatial_size']),
                      drop_path_rate=float(drop_path_rate), weight_init='skip', fix_init=False)
    made.head, made.blocks = nn.Identity(), nn.Sequential(*map(HieraBlock, made.blocks))
    nn.init.zeros_(made.pos_embed)
    nn.init.zeros_(made.pos_embed_window)
    made.set_grad_checkpointing(recompute)
    return made
