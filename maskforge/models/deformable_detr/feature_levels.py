"""From backbone maps to the tokens that the transformer works on."""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.layers.deformable_encoder import valid_ratios
from maskforge.layers.position_encoding import SinePositionEncoding
from maskforge.ops.device_values import on_device

#: index of the level that a convolution adds below the backbone's last one
EXTRA_LEVEL = 4
GROUPS = 32


@dataclass(frozen=True)
class Tokens:
    """All levels one after another.

    Legend: B images, S tokens, C channels, L levels.

    Attributes:
        features: projected maps.
        position: sine codes plus the level's learnt code; float32.
        shapes: (height, width) of the levels.
        padding: True for tokens of the padding; None if no image is padded.
        valid_ratios: part (x, y) of each level that is image.
    """

    features: Float[Tensor, 'B S C']
    position: Float[Tensor, 'B S C']
    shapes: tuple[tuple[int, int], ...]
    padding: Bool[Tensor, 'B S'] | None
    valid_ratios: Float[Tensor, 'B L 2']


class FeatureLevels(nn.Module):
    """Projects every level to ``hidden_dim`` channels and adds codes of place and level.

    Args:
        in_channels: of the backbone's levels.
        extra_level: add a level of half the last one's resolution, from the backbone's last map.
        hidden_dim: C.
        position_offset: see :class:`SinePositionEncoding`; -0.5 as in the public weights.
    """

    def __init__(self, in_channels: Sequence[int], *, extra_level: bool, hidden_dim: int,
                 position_offset: float | int = -0.5) -> None:
        super().__init__()
        convs = [nn.Conv2d(channels, hidden_dim, 1) for channels in in_channels]
        if extra_level:
            convs.append(nn.Conv2d(in_channels[-1], hidden_dim, 3, stride=2, padding=1))
        self.projections = nn.ModuleList(nn.Sequential(conv, nn.GroupNorm(GROUPS, hidden_dim)) for conv in convs)
        for conv in convs:
            nn.init.xavier_uniform_(conv.weight)
            nn.init.zeros_(conv.bias)
        self.position_encoding = SinePositionEncoding(hidden_dim // 2, offset=position_offset)
        self.level_embed = nn.Parameter(torch.randn(len(convs), hidden_dim))

    def forward(self, features: Sequence[Float[Tensor, 'B _ _ _']], padding: Bool[Tensor, 'B H W'], *,
                padded: bool) -> Tokens:
        """Return the tokens.

        Args:
            features: of the backbone.
            padding: at the batch's full resolution, True where there is no image.
            padded: False if ``padding`` is known to be False everywhere.
        """
        maps = [projection(feature) for projection, feature in zip(self.projections, features)]
        if len(self.projections) > len(features):
            maps.append(self.projections[-1](features[-1]))
        masks = [_resize_mask(padding, level.shape[-2:]) for level in maps]
        position = [self.position_encoding(mask) + code[:, None, None]
                    for mask, code in zip(masks, self.level_embed.float())]
        return Tokens(_flatten(maps), _flatten(position), tuple(tuple(level.shape[-2:]) for level in maps),
                      torch.cat([mask.flatten(1) for mask in masks], 1) if padded else None, valid_ratios(masks))


def padding_mask(image_shapes: Sequence[Sequence[int]], batch_shape: Sequence[int],
                 device: torch.device) -> Bool[Tensor, 'B H W']:
    """Return True where a batch of ``batch_shape`` (H, W) holds no image; images lie at the top left."""
    sizes = on_device([tuple(shape[:2]) for shape in image_shapes], device)
    rows = torch.arange(batch_shape[0], device=device) >= sizes[:, :1]
    columns = torch.arange(batch_shape[1], device=device) >= sizes[:, 1:]
    return rows[:, :, None] | columns[:, None]


def _resize_mask(padding: Tensor, shape: Sequence[int]) -> Tensor:
    return F.interpolate(padding[:, None].float(), size=tuple(shape))[:, 0].bool()


def _flatten(maps: Sequence[Tensor]) -> Tensor:
    return torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)
