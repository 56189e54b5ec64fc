"""The two heads: a key vector per crop and a value map; their dot product is the mask's logit.

Legend: B crops, D the backbone's channels, C channels of keys and values, h w map.
"""
import itertools
from contextlib import nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.layers import ConvNorm

# the value map is doubled before this convolution, or before the last one where there are fewer
UPSAMPLE_BEFORE, UPSAMPLE = 3, 2


class KeyHead(nn.Module):
    """Mean over the map, then two linear layers with ReLU between.

    Args:
        in_channels, out_channels: D and C.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.mlp1 = nn.Linear(in_channels, out_channels)
        self.mlp2 = nn.Linear(out_channels, out_channels)

    def forward(self, features: Float[Tensor, 'B D h w']) -> Float[Tensor, 'B C']:
        """Return the crops' keys."""
        return self.mlp2(F.relu(self.mlp1(features.mean(dim=(2, 3)))))


class ValueHead(nn.Module):
    """3x3 convolutions, each with ReLU; the map is doubled on the way.

    Args:
        in_channels, hidden_channels, out_channels: D, the channels between, and C.
        num_convs: convolutions.

    Raises:
        ValueError: no convolution.
    """

    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int, num_convs: int) -> None:
        super().__init__()
        if num_convs < 1:
            raise ValueError(f'MAL: mask_head_num_convs must be at least 1, got {num_convs}.')
        widths = [in_channels, *[hidden_channels] * (num_convs - 1), out_channels]
        self.convs = nn.ModuleList(ConvNorm(a, b) for a, b in itertools.pairwise(widths))
        self.upsample_before = min(UPSAMPLE_BEFORE, num_convs - 1)
        for layer in self.convs:
            nn.init.kaiming_normal_(layer.conv.weight, mode='fan_out', nonlinearity='relu')
            nn.init.zeros_(layer.conv.bias)

    def forward(self, features: Float[Tensor, 'B D h w']) -> Float[Tensor, 'B C 2*h 2*w']:
        """Return the value map, twice as large."""
        for index, conv in enumerate(self.convs):
            if index == self.upsample_before:
                features = F.interpolate(features, scale_factor=UPSAMPLE, mode='bilinear', align_corners=False)
            features = conv(features)
        return features


def dot_product(keys: Float[Tensor, 'B C'], values: Float[Tensor, 'B C h w']) -> Float[Tensor, 'B h w']:
    """Return the logits, float32: in half precision the sum over C could overflow."""
    device = values.device.type
    with torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext():
        return torch.einsum('bc,bchw->bhw', keys.float(), values.float())
