"""The memory encoder: a frame's map and mask become its memory (Ravi et al. 2024, section 4)."""
import torch
from jaxtyping import Float
from torch import Tensor, nn

from maskforge.layers.linear import Linear, activated
from maskforge.models.sam2.layer_norm_2d import LayerNorm2d

#: widths of the mask's maps at strides 2, 4, 8 and 16
MASK_WIDTHS = (4, 16, 64, 256)


class MaskDownsampler(nn.Module):
    """Masks to maps at stride 16: four halvings and a projection to ``out_channels``."""

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for before, after in zip((1, *MASK_WIDTHS), MASK_WIDTHS):
            parts += [nn.Conv2d(before, after, 3, stride=2, padding=1), LayerNorm2d(after), nn.GELU()]
        self.encoder = nn.Sequential(*parts, nn.Conv2d(MASK_WIDTHS[-1], out_channels, 1))

    def forward(self, masks: Float[Tensor, 'N 1 H W']) -> Float[Tensor, 'N C h w']:
        """Return the maps."""
        return self.encoder(masks)


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7, norm, two linear maps with GELU, scaled and added (Liu et al. 2022)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = LayerNorm2d(channels)
        self.pwconv1, self.pwconv2 = Linear(channels, 4 * channels), Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x: Float[Tensor, 'N C H W']) -> Float[Tensor, 'N C H W']:
        """Return the map after the block."""
        branch = self.norm(self.dwconv(x)).permute(0, 2, 3, 1)
        return x + (self.gamma * self.pwconv2(activated(self.pwconv1, branch, 'gelu'))).permute(0, 3, 1, 2)


class Fuser(nn.Module):
    """Blocks one after the other."""

    def __init__(self, channels: int, num_layers: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ConvNeXtBlock(channels) for _ in range(num_layers))

    def forward(self, x: Float[Tensor, 'N C H W']) -> Float[Tensor, 'N C H W']:
        """Return the map after the blocks."""
        for layer in self.layers:
            x = layer(x)
        return x


class MemoryEncoder(nn.Module):
    """Fuse the frame's raw map with its mask.

    Args:
        embed_dims: C; ``memory_dims``: D, not projected to where it equals C.
    """

    def __init__(self, embed_dims: int = 256, memory_dims: int = 64) -> None:
        super().__init__()
        self.mask_downsampler = MaskDownsampler(embed_dims)
        self.pix_feat_proj = nn.Conv2d(embed_dims, embed_dims, 1)
        self.fuser = Fuser(embed_dims)
        self.out_proj = nn.Identity() if memory_dims == embed_dims else nn.Conv2d(embed_dims, memory_dims, 1)

    def forward(self, s16: Float[Tensor, '_ C h w'], masks: Float[Tensor, 'N 1 H W']) -> Float[Tensor, 'N D h w']:
        """Return the memory.

        Args:
            s16: a row per object, or one for all.
            masks: scaled probabilities at the input's size.
        """
        return self.out_proj(self.fuser(self.pix_feat_proj(s16) + self.mask_downsampler(masks)))
