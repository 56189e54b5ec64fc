"""Image to FAN's tokens: four convolutions, or the first two stages of a ConvNeXt (Liu et al. 2022).

Legend: B images, D embedding width, C channels, h w map, H W pixels. Module names are those of public FAN checkpoints.
"""
import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.backbones.mal_vit import MLP

NORM_EPS = 1e-6
HYBRID_WIDTHS, HYBRID_DEPTHS = (128, 256), (3, 3)
FOURIER_WIDTH, TEMPERATURE = 32, 10000


class ConvPatchEmbed(nn.Module):
    """Four 3x3 convolutions of stride 2 with batch norm, GELU between."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        widths = [3, *(embed_dim // divisor for divisor in (8, 4, 2, 1))]
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            layers += [nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b)), nn.GELU()]
        self.proj = nn.Sequential(*layers[:-1])

    def forward(self, images: Float[Tensor, 'B 3 H W']) -> Float[Tensor, 'B D h w']:
        """Return the tokens as a map of stride 16."""
        return self.proj(images)


class HybridPatchEmbed(nn.Module):
    """Two ConvNeXt stages (strides 4 and 8), then a 2x2 convolution to stride 16.

    Args:
        embed_dim: D.
        depths: blocks of the two stages.
    """

    def __init__(self, embed_dim: int, depths: tuple[int, int] = HYBRID_DEPTHS) -> None:
        super().__init__()
        self.backbone = ConvNeXtStages(depths)
        self.proj = nn.Conv2d(HYBRID_WIDTHS[-1], embed_dim, 2, 2)

    def forward(self, images: Float[Tensor, 'B 3 H W']) -> Float[Tensor, 'B D h w']:
        """Return the tokens as a map of stride 16."""
        return self.proj(self.backbone(images))


class ConvNeXtStages(nn.Module):
    """ConvNeXt's stem and first stages."""

    def __init__(self, depths: tuple[int, int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, HYBRID_WIDTHS[0], 4, 4), ChannelNorm(HYBRID_WIDTHS[0]))
        inputs = (HYBRID_WIDTHS[0], *HYBRID_WIDTHS)
        self.stages = nn.Sequential(*(ConvNeXtStage(a, b, depth)
                                      for a, b, depth in zip(inputs, HYBRID_WIDTHS, depths)))

    def forward(self, images: Float[Tensor, 'B 3 H W']) -> Float[Tensor, 'B C h w']:
        """Return the last stage's map, stride 8."""
        return self.stages(self.stem(images))


class ConvNeXtStage(nn.Module):
    """Halve the map where the width changes, then blocks."""

    def __init__(self, inputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.downsample = nn.Identity()
        if inputs != width:
            self.downsample = nn.Sequential(ChannelNorm(inputs), nn.Conv2d(inputs, width, 2, 2))
        self.blocks = nn.Sequential(*(ConvNeXtBlock(width) for _ in range(depth)))

    def forward(self, features: Float[Tensor, 'B _ H W']) -> Float[Tensor, 'B C h w']:
        """Return the stage's map."""
        return self.blocks(self.downsample(features))


class ConvNeXtBlock(nn.Module):
    """7x7 depth-wise convolution, norm and perceptron, scaled, around a shortcut."""

    def __init__(self, width: int, scale: float = 1e-6) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = MLP(width, 4 * width)
        self.gamma = nn.Parameter(torch.full((width,), scale))

    def forward(self, features: Float[Tensor, 'B C h w']) -> Float[Tensor, 'B C h w']:
        """Return the map after the block."""
        branch = self.mlp(self.norm(self.conv_dw(features).permute(0, 2, 3, 1))) * self.gamma
        return features + branch.permute(0, 3, 1, 2)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of a map."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=NORM_EPS)

    def forward(self, features: Float[Tensor, 'B C h w']) -> Float[Tensor, 'B C h w']:
        """Return the map, every position normalised on its own."""
        normed = F.layer_norm(features.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return normed.permute(0, 3, 1, 2)


class FourierPositions(nn.Module):
    """Sines and cosines of the rows and columns, then a 1x1 convolution (Vaswani et al. 2017; El-Nouby et al. 2021).

    Positions count from 1 and are scaled so that the last one of any grid is 2 pi.
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.token_projection = nn.Conv2d(2 * FOURIER_WIDTH, embed_dim, 1)

    def forward(self, tokens: Float[Tensor, 'B D h w']) -> Float[Tensor, '1 D h w']:
        """Return the positions' code for the grid of ``tokens``."""
        height, width = tokens.shape[-2:]
        rows, columns = (_waves(length, tokens.device) for length in (height, width))
        code = torch.cat((rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)), dim=2)
        return self.token_projection(code.permute(2, 0, 1)[None].to(self.token_projection.weight.dtype))


def _waves(length: int, device: torch.device) -> Tensor:
    """(length, FOURIER_WIDTH): sine and cosine of every frequency in turn."""
    positions = torch.arange(1, length + 1, dtype=torch.float32, device=device)
    positions = positions / (length + 1e-6) * (2 * math.pi)
    frequencies = TEMPERATURE ** (-torch.arange(0, FOURIER_WIDTH, 2, dtype=torch.float32, device=device)
                                  / FOURIER_WIDTH)
    angles = positions[:, None] * frequencies
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)
