"""Generalised IoU as a loss (Rezatofighi et al., CVPR 2019)."""
import torch
from jaxtyping import Float
from torch import Tensor, nn

from maskforge.losses.reduction import reduce_loss
from maskforge.registry import MODELS


def paired_giou_loss(pred: Float[Tensor, 'N 4'], target: Float[Tensor, 'N 4'],
                     eps: float = 1e-7) -> Float[Tensor, ' N']:
    """Return 1 - GIoU of each pair of xyxy boxes, in [0, 2], float32; ``eps`` (in units of area) guards empty boxes."""
    pred, target = pred.float(), target.float()
    shared = _area(torch.maximum(pred[:, :2], target[:, :2]), torch.minimum(pred[:, 2:], target[:, 2:]))
    union = _area(pred[:, :2], pred[:, 2:]) + _area(target[:, :2], target[:, 2:]) - shared
    hull = _area(torch.minimum(pred[:, :2], target[:, :2]), torch.maximum(pred[:, 2:], target[:, 2:]))
    union, hull = union.clamp(min=eps), hull.clamp(min=eps)
    return 1 - shared / union + (hull - union) / hull


@MODELS.register_module()
class GIoULoss(nn.Module):
    """:func:`paired_giou_loss` with MMDetection's arguments.

    Args:
        eps: see the function.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the result.
    """

    def __init__(self, *, eps: float = 1e-7, reduction: str = 'mean', loss_weight: float | int = 1.0) -> None:
        super().__init__()
        if reduction not in ('none', 'mean', 'sum'):
            raise ValueError(f"GIoULoss: reduction={reduction!r} is not 'none', 'mean' or 'sum'.")
        self.eps, self.reduction, self.loss_weight = eps, reduction, float(loss_weight)

    def forward(self, pred: Float[Tensor, 'N 4'], target: Float[Tensor, 'N 4'], weight: Tensor | None = None, *,
                avg_factor: float | int | Tensor | None = None) -> Float[Tensor, '...']:
        """Return the loss; ``weight`` is (N,)."""
        return self.loss_weight * reduce_loss(paired_giou_loss(pred, target, self.eps), weight,
                                              reduction=self.reduction, avg_factor=avg_factor)


def _area(low: Float[Tensor, 'N 2'], high: Float[Tensor, 'N 2']) -> Float[Tensor, ' N']:
    return (high - low).clamp(min=0).prod(-1)
