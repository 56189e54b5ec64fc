"""Mask head: one small mask per class and region (He et al. 2017, section 3).

Legend: R regions, K classes, C channels, S side of the pooled features, T = 2S side of the masks.
"""
import itertools
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.layers import ConvNorm
from maskforge.registry import MODELS


@MODELS.register_module()
class FCNMaskHead(BaseModule):
    """Convolutions, one doubling of the resolution, one mask per class.

    Args:
        num_classes: K.
        num_convs, in_channels, conv_out_channels, conv_kernel_size, norm_cfg: the convolutions with ReLU.
        roi_feat_size: side of the pooled features; the masks are twice as large.
        class_agnostic: one mask for all classes.
        loss_mask: config of MODELS, binary cross entropy with ``use_mask=True``.
    """

    scale_factor = 2

    def __init__(self, *, num_classes: int, loss_mask: Mapping, num_convs: int = 4, in_channels: int = 256,
                 conv_out_channels: int = 256, conv_kernel_size: int = 3, roi_feat_size: int = 14,
                 class_agnostic: bool = False, norm_cfg: dict | None = None,
                 init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        self.num_classes, self.class_agnostic, self.roi_feat_size = num_classes, class_agnostic, roi_feat_size
        self.loss_mask = MODELS.build(loss_mask)
        channels = [in_channels, *[conv_out_channels] * num_convs]
        self.convs = nn.ModuleList(
            ConvNorm(a, b, conv_kernel_size, norm_cfg=norm_cfg) for a, b in itertools.pairwise(channels))
        self.upsample = nn.ConvTranspose2d(channels[-1], conv_out_channels, self.scale_factor, self.scale_factor)
        self.conv_logits = nn.Conv2d(conv_out_channels, 1 if class_agnostic else num_classes, 1)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @property
    def mask_size(self) -> int:
        """T, the side of the predicted masks in pixels."""
        return self.roi_feat_size * self.scale_factor

    def forward(self, pooled: Float[Tensor, 'R C S S']) -> Float[Tensor, 'R _ T T']:
        """Return mask logits, one channel per class (or one)."""
        for conv in self.convs:
            pooled = conv(pooled)
        return self.conv_logits(F.relu_(self.upsample(pooled)))

    def select(self, logits: Float[Tensor, 'R _ T T'], labels: Int[Tensor, ' R']) -> Float[Tensor, 'R T T']:
        """Return each region's logits of its class, float32."""
        columns = torch.zeros_like(labels) if self.class_agnostic else labels
        index = columns[:, None, None, None].expand(-1, 1, logits.shape[-2], logits.shape[-1])
        return logits.gather(1, index)[:, 0].float()

    def loss(self, logits: Float[Tensor, 'P _ T T'], labels: Int[Tensor, ' P'],
             targets: Float[Tensor, 'P T T']) -> dict[str, Tensor]:
        """Return ``loss_mask``: the mean over the positive regions' pixels; 0 without any."""
        return {'loss_mask': self.loss_mask(self.select(logits, labels), targets)}
