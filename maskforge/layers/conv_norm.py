"""Convolution, optional normalisation, optional ReLU, under the key names ``conv`` and ``bn`` (or ``gn``)."""
from jaxtyping import Float
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.layers.folded_norm import conv_norm
from maskforge.registry import MODELS


class ConvNorm(nn.Module):
    """One convolution block of a head or neck; size-preserving padding.

    Args:
        norm_cfg: ``dict(type='BN')``, ``dict(type='GN', num_groups=32)`` ...; None: the convolution has a bias instead.
        relu: apply ReLU at the end.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, *, stride: int = 1,
                 norm_cfg: dict | None = None, relu: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2,
                              bias=norm_cfg is None)
        self.norm_name, self.relu = None, relu
        if norm_cfg is not None:
            self.norm_name, norm = build_norm_layer({**norm_cfg, 'type': MODELS.get(norm_cfg['type'])}, out_channels)
            self.add_module(self.norm_name, norm)

    def forward(self, features: Float[Tensor, 'N C H W']) -> Float[Tensor, 'N _ _ _']:
        """Return relu(norm(conv(features))), each where asked for."""
        if self.norm_name is None:
            features = self.conv(features)
        else:
            features = conv_norm(self.conv, getattr(self, self.norm_name), features)
        return F.relu_(features) if self.relu else features
