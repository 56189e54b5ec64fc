"""Second-stage box heads: class and refined box of each region (Girshick 2015; Lin et al. 2017, section 4.2).

Legend: R regions, K classes (background = K, the last column), C S channels and side of the pooled features.
"""
import itertools
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.layers import ConvNorm
from maskforge.registry import MODELS, TASK_UTILS


@MODELS.register_module()
class ConvFCBBoxHead(BaseModule):
    """Shared convolutions and fully connected layers, then a classifier and a box regressor.

    Args:
        in_channels, roi_feat_size: of the pooled features.
        num_classes: K, without the background.
        num_shared_convs, conv_out_channels, norm_cfg: 3x3 convolutions with ReLU, and their normalisation.
        num_shared_fcs, fc_out_channels: fully connected layers with ReLU.
        bbox_coder: config of TASK_UTILS.
        reg_class_agnostic: one box for all classes.
        loss_cls, loss_bbox: configs of MODELS; ``loss_cls`` is softmax cross entropy.
    """

    def __init__(self, *, num_classes: int, bbox_coder: Mapping, loss_cls: Mapping, loss_bbox: Mapping,
                 in_channels: int = 256, roi_feat_size: int = 7, num_shared_convs: int = 0,
                 conv_out_channels: int = 256, num_shared_fcs: int = 0, fc_out_channels: int = 1024,
                 reg_class_agnostic: bool = False, norm_cfg: dict | None = None,
                 init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        self.num_classes, self.reg_class_agnostic = num_classes, reg_class_agnostic
        self.coder = TASK_UTILS.build(bbox_coder)
        self.loss_cls, self.loss_bbox = MODELS.build(loss_cls), MODELS.build(loss_bbox)
        channels = [in_channels, *[conv_out_channels] * num_shared_convs]
        self.shared_convs = nn.ModuleList(
            ConvNorm(a, b, norm_cfg=norm_cfg) for a, b in itertools.pairwise(channels))
        widths = [channels[-1] * roi_feat_size**2, *[fc_out_channels] * num_shared_fcs]
        self.shared_fcs = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.fc_cls = nn.Linear(widths[-1], num_classes + 1)
        self.fc_reg = nn.Linear(widths[-1], 4 * self.num_boxes)
        self._initialise()

    @property
    def num_boxes(self) -> int:
        """Boxes per region: one per class, or one."""
        return 1 if self.reg_class_agnostic else self.num_classes

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
            elif isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
            if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.fc_cls.weight, std=0.01)
        nn.init.normal_(self.fc_reg.weight, std=0.001)

    def forward(self, pooled: Float[Tensor, 'R C S S']) -> tuple[Float[Tensor, 'R _'], Float[Tensor, 'R _']]:
        """Return class logits (R, K + 1) and offsets (R, 4K), or (R, 4) where class-agnostic."""
        for conv in self.shared_convs:
            pooled = conv(pooled)
        hidden = pooled.flatten(1)
        for layer in self.shared_fcs:
            hidden = F.relu_(layer(hidden))
        return self.fc_cls(hidden), self.fc_reg(hidden)

    def decode(self, boxes: Float[Tensor, 'R 4'], offsets: Float[Tensor, 'R _'], *,
               max_shape=None) -> Float[Tensor, 'R _ 4']:
        """Return the refined boxes, one per class (or one for all), clipped to ``max_shape`` (h, w) if given."""
        offsets = offsets.float().reshape(-1, self.num_boxes, 4)
        return self.coder.decode(boxes[:, None], offsets, max_shape=max_shape)

    def loss(self, logits: Float[Tensor, 'R _'], offsets: Float[Tensor, 'R _'], labels: Int[Tensor, ' R'],
             boxes: Float[Tensor, 'P 4'], truth: Float[Tensor, 'P 4'], positive: Int[Tensor, ' P'], *,
             pos_weight: float | int = -1) -> dict[str, Tensor]:
        """Return ``loss_cls`` and ``loss_bbox``, both divided by the number of regions.

        Args:
            labels: classes; K is background.
            boxes, truth: the positive regions and their true boxes.
            positive: rows of the positive regions.
        """
        count = max(len(labels), 1)
        weight = torch.ones_like(labels, dtype=torch.float32)
        if pos_weight > 0:
            weight[positive] = pos_weight
        offsets = offsets.float().reshape(-1, self.num_boxes, 4)
        columns = torch.zeros_like(positive) if self.reg_class_agnostic else labels[positive]
        targets = self.coder.encode(boxes, truth)
        return {'loss_cls': self.loss_cls(logits, labels, weight, avg_factor=count),
                'loss_bbox': self.loss_bbox(offsets[positive, columns], targets, avg_factor=count)}


@MODELS.register_module()
class Shared2FCBBoxHead(ConvFCBBoxHead):
    """Two fully connected layers: FPN's head."""

    def __init__(self, *, fc_out_channels: int = 1024, **kwargs) -> None:
        super().__init__(num_shared_fcs=2, fc_out_channels=fc_out_channels, **kwargs)


@MODELS.register_module()
class Shared4Conv1FCBBoxHead(ConvFCBBoxHead):
    """Four convolutions and one fully connected layer (He et al. 2019, 'Rethinking ImageNet pre-training')."""

    def __init__(self, *, fc_out_channels: int = 1024, **kwargs) -> None:
        super().__init__(num_shared_convs=4, num_shared_fcs=1, fc_out_channels=fc_out_channels, **kwargs)
