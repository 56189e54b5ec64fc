"""The pixel decoder: deformable attention over three levels, then one step of a feature pyramid.

Cheng et al., CVPR 2022, section 4.1 ("MSDeformAttn"): levels of strides 32, 16 and 8 attend to one another; the result
of stride 8 joins the backbone's map of stride 4.
"""
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.layers.deformable_encoder import DeformableEncoder
from maskforge.layers.pointwise import convolve
from maskforge.layers.position_encoding import SinePositionEncoding

GROUPS = 32
#: levels of the encoder, from stride 32 up
NUM_LEVELS = 3


class PixelDecoder(nn.Module):
    """Feature levels to the decoder's memory and the features that masks are read from.

    Padding is not masked, as in the original: the network sees its zeros.

    Args:
        in_channels: of the backbone's levels of strides 4, 8, 16 and 32.
        hidden_dim: C, channels of the memory; divisible by 32 and by ``num_heads``.
        mask_dim: M, channels of the mask features.
        num_heads, num_layers, num_points, feedforward_channels, dropout, activation_checkpoint: of the encoder.
        norm: of the pyramid's convolutions: 'GN', 'SyncBN', 'LN' (per pixel) or '' for none.

    Raises:
        ValueError: an unknown norm.
    """

    def __init__(self, in_channels: Sequence[int], *, hidden_dim: int = 256, mask_dim: int = 256, num_heads: int = 8,
                 num_layers: int = 6, num_points: int = 4, feedforward_channels: int = 1024,
                 dropout: float | int = 0., norm: str = 'GN', activation_checkpoint: bool = False) -> None:
        super().__init__()
        finest, *coarser = in_channels
        self.input_proj = nn.ModuleList(
            Projection(nn.Conv2d(channels, hidden_dim, 1), nn.GroupNorm(GROUPS, hidden_dim))
            for channels in reversed(coarser))
        for projection in self.input_proj:
            nn.init.xavier_uniform_(projection[0].weight)
            nn.init.zeros_(projection[0].bias)
        self.level_embed = nn.Parameter(torch.randn(NUM_LEVELS, hidden_dim))
        self.position_encoding = SinePositionEncoding(hidden_dim // 2)
        self.encoder = DeformableEncoder(
            num_layers, activation_checkpoint=activation_checkpoint, embed_dims=hidden_dim, num_heads=num_heads,
            num_levels=NUM_LEVELS, num_points=num_points, feedforward_channels=feedforward_channels, dropout=dropout)
        self.lateral = PyramidConv(finest, hidden_dim, 1, norm=norm)
        self.output = PyramidConv(hidden_dim, hidden_dim, 3, norm=norm, relu=True)
        self.mask_features = nn.Conv2d(hidden_dim, mask_dim, 1)
        _init_convolution(self.mask_features)

    def forward(self, features: Sequence[Float[Tensor, 'B _ _ _']]
                ) -> tuple[Float[Tensor, 'B M h w'], list[Float[Tensor, 'B C _ _']]]:
        """Return the mask features (stride 4) and the memory's maps of strides 32, 16 and 8, in channels-last order.

        Args:
            features: of strides 4, 8, 16 and 32.
        """
        maps = [projection(feature) for projection, feature in zip(self.input_proj, reversed(features))]
        memory = self._encode(maps)
        finest = self.lateral(features[0])
        finest += F.interpolate(memory[-1], size=finest.shape[-2:], mode='bilinear', align_corners=False)
        mask_features = convolve(self.mask_features, self.output(finest))
        # that order makes samples at points and smaller sizes many times as fast
        return mask_features.contiguous(memory_format=torch.channels_last), memory

    def _encode(self, maps: Sequence[Tensor]) -> list[Tensor]:
        shapes = tuple(tuple(level.shape[-2:]) for level in maps)
        position = [self.position_encoding.of_map(level) + code for level, code in zip(maps, self.level_embed.float())]
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)
        ratios = tokens.new_ones(tokens.shape[0], NUM_LEVELS, 2, dtype=torch.float32)
        encoded = self.encoder(tokens, torch.cat(position, dim=1), shapes, valid_ratios=ratios, padding=None)
        parts = encoded.split([height * width for height, width in shapes], dim=1)
        return [part.reshape(part.shape[0], *shape, -1).permute(0, 3, 1, 2) for part, shape in zip(parts, shapes)]


class Projection(nn.Sequential):
    """A convolution of single pixels and a norm."""

    def forward(self, x: Float[Tensor, 'B _ H W']) -> Float[Tensor, 'B C H W']:
        """Return the normalised map."""
        conv, norm = self
        return norm(convolve(conv, x))


class PyramidConv(nn.Module):
    """Convolution, normalisation and, where asked for, ReLU; size is kept.

    Args:
        norm: 'GN', 'SyncBN', 'LN' or '': without one the convolution has a bias.

    Raises:
        ValueError: another norm.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, norm: str,
                 relu: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=not norm)
        self.norm, self.relu = _norm(norm, out_channels), relu
        _init_convolution(self.conv)

    def forward(self, x: Float[Tensor, 'B _ H W']) -> Float[Tensor, 'B _ H W']:
        """Return the features after the convolution."""
        x = self.norm(convolve(self.conv, x))
        return x.relu_() if self.relu else x


def _norm(name: str, channels: int) -> nn.Module:
    from timm.layers import LayerNorm2d

    norms: dict[str, Callable[[], nn.Module]] = {
        'GN': lambda: nn.GroupNorm(GROUPS, channels), 'SyncBN': lambda: nn.SyncBatchNorm(channels),
        'LN': lambda: LayerNorm2d(channels), '': nn.Identity}
    if name not in norms:
        raise ValueError(f'head_norm={name!r} is not one of {", ".join(map(repr, norms))}.')
    return norms[name]()


def _init_convolution(conv: nn.Conv2d) -> None:
    nn.init.kaiming_uniform_(conv.weight, a=1)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
