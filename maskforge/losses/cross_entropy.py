"""Cross entropy in its three uses: softmax over classes, sigmoid per class, and masks of the true class."""
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.losses.reduction import reduce_loss
from maskforge.ops.device_values import on_device
from maskforge.registry import MODELS


@MODELS.register_module()
class CrossEntropyLoss(nn.Module):
    """Cross entropy, computed in float32 under any precision.

    Args:
        use_sigmoid: one binary decision per class. Labels are class indices (the background, ``num_classes``, is 0 in
            every column) or probabilities of the scores' shape.
        use_mask: binary decisions on the pixels of the true class's mask.
        reduction: 'none', 'mean' or 'sum'.
        class_weight: one factor per column of the scores.
        ignore_index: this label takes no part.
        loss_weight: factor on the result.
        avg_non_ignore: without ``avg_factor``, average over the labels that take part only.

    Raises:
        ValueError: ``use_sigmoid`` together with ``use_mask``, or an unknown reduction.
    """

    def __init__(self, *, use_sigmoid: bool = False, use_mask: bool = False, reduction: str = 'mean',
                 class_weight: Sequence[float | int] | None = None, ignore_index: int = -100,
                 loss_weight: float | int = 1.0, avg_non_ignore: bool = False) -> None:
        super().__init__()
        if use_sigmoid and use_mask:
            raise ValueError('CrossEntropyLoss: use_sigmoid and use_mask exclude each other.')
        if reduction not in ('none', 'mean', 'sum'):
            raise ValueError(f"CrossEntropyLoss: reduction={reduction!r} is not 'none', 'mean' or 'sum'.")
        self.use_sigmoid, self.use_mask, self.reduction = use_sigmoid, use_mask, reduction
        self.class_weight, self.ignore_index = class_weight, ignore_index
        self.loss_weight, self.avg_non_ignore = float(loss_weight), avg_non_ignore

    def forward(self, cls_score: Float[Tensor, 'N ...'], label: Tensor, weight: Tensor | None = None, *,
                avg_factor: float | int | Tensor | None = None) -> Float[Tensor, '...']:
        """Return the loss.

        Args:
            cls_score: logits (N, K); with ``use_mask`` those of the true class (N, H, W).
            label: class indices (N,), or targets in [0, 1] of the scores' shape.
            weight: (N,), or of the scores' shape.
            avg_factor: what the sum is divided by, instead of the number of terms.
        """
        cls_score = cls_score.float()
        if self.use_mask:
            loss, counted = F.binary_cross_entropy_with_logits(cls_score, label.float(), reduction='none'), None
        elif self.use_sigmoid:
            loss, counted = self._binary(cls_score, label)
        else:
            loss = F.cross_entropy(cls_score, label, self._class_weight(cls_score), reduction='none',
                                   ignore_index=self.ignore_index)
            counted = label != self.ignore_index
        if avg_factor is None and self.avg_non_ignore and counted is not None:
            avg_factor = counted.sum().clamp(min=1)
        return self.loss_weight * reduce_loss(loss, weight, reduction=self.reduction, avg_factor=avg_factor)

    def _class_weight(self, like: Tensor) -> Tensor | None:
        if self.class_weight is None:
            return None
        return on_device(list(self.class_weight), like.device, dtype=like.dtype)

    def _binary(self, cls_score: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        counted = (label != self.ignore_index).expand_as(label)
        if label.dim() < cls_score.dim():
            target = one_hot(label, cls_score.shape[-1]).to(cls_score)
            counted = counted[..., None].expand_as(cls_score)
        else:
            target = label.to(cls_score)
        loss = F.binary_cross_entropy_with_logits(cls_score, target, self._class_weight(cls_score), reduction='none')
        return loss * counted, counted


def one_hot(labels: Int[Tensor, '*N'], num_classes: int) -> Bool[Tensor, '*N K']:
    """Return indicator rows; a label outside 0 .. K - 1 (background, ignored) has none."""
    return labels[..., None] == torch.arange(num_classes, device=labels.device)
