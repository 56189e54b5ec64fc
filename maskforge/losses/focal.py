"""Focal loss on independent classes (Lin et al., ICCV 2017, equation 5)."""
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.losses.reduction import reduce_loss
from maskforge.registry import MODELS

from .cross_entropy import one_hot


def sigmoid_focal_loss(logits: Float[Tensor, '*N'], target: Float[Tensor, '*N'] | Bool[Tensor, '*N'], *,
                       alpha: float | int = 0.25, gamma: float | int = 2.0) -> Float[Tensor, '*N']:
    """Return the terms, float32: cross entropy weighted by alpha (1 - alpha for target 0) and (1 - p_t)^gamma.

    Args:
        target: 0 or 1.
        alpha: weight of the positives; negative for no such weight.
    """
    logits, target = logits.float(), target.float()
    probability = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction='none')
    wrong = probability + target - 2 * probability * target
    loss = entropy * wrong**gamma
    return loss if alpha < 0 else loss * (alpha * target + (1 - alpha) * (1 - target))


@MODELS.register_module()
class FocalLoss(nn.Module):
    """:func:`sigmoid_focal_loss` of class indices, with MMDetection's arguments.

    Args:
        use_sigmoid: True; there is no other form here.
        gamma, alpha: see the function.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the result.

    Raises:
        ValueError: ``use_sigmoid=False``, or an unknown reduction.
    """

    def __init__(self, *, use_sigmoid: bool = True, gamma: float | int = 2.0, alpha: float | int = 0.25,
                 reduction: str = 'mean', loss_weight: float | int = 1.0) -> None:
        super().__init__()
        if not use_sigmoid:
            raise ValueError('FocalLoss: only use_sigmoid=True exists; CrossEntropyLoss has the softmax.')
        if reduction not in ('none', 'mean', 'sum'):
            raise ValueError(f"FocalLoss: reduction={reduction!r} is not 'none', 'mean' or 'sum'.")
        self.gamma, self.alpha, self.reduction, self.loss_weight = gamma, alpha, reduction, float(loss_weight)

    def forward(self, cls_score: Float[Tensor, 'N K'], label: Tensor, weight: Tensor | None = None, *,
                avg_factor: float | int | Tensor | None = None) -> Float[Tensor, '...']:
        """Return the loss; ``label`` (N,) counts from 0, and K is the background."""
        terms = sigmoid_focal_loss(cls_score, one_hot(label, cls_score.shape[-1]), alpha=self.alpha, gamma=self.gamma)
        return self.loss_weight * reduce_loss(terms, weight, reduction=self.reduction, avg_factor=avg_factor)
