"""L1 and smooth L1 on box regressions."""
from jaxtyping import Float
from torch import Tensor, nn

from maskforge.losses.reduction import reduce_loss
from maskforge.registry import MODELS


def smooth_l1(pred: Float[Tensor, '*N'], target: Float[Tensor, '*N'], beta: float | int) -> Float[Tensor, '*N']:
    """Return 0.5 d^2 / beta where d = |pred - target| < beta, else d - 0.5 beta (Girshick 2015, equation 3)."""
    distance = (pred - target).abs()
    return distance.where(distance >= beta, 0.5 * distance**2 / beta + 0.5 * beta) - 0.5 * beta


@MODELS.register_module()
class L1Loss(nn.Module):
    """Mean absolute difference, in float32.

    Args:
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: factor on the result.
    """

    def __init__(self, *, reduction: str = 'mean', loss_weight: float | int = 1.0) -> None:
        super().__init__()
        if reduction not in ('none', 'mean', 'sum'):
            raise ValueError(f"{type(self).__name__}: reduction={reduction!r} is not 'none', 'mean' or 'sum'.")
        self.reduction, self.loss_weight = reduction, float(loss_weight)

    def elementwise(self, pred: Float[Tensor, '*N'], target: Float[Tensor, '*N']) -> Float[Tensor, '*N']:
        """Return the terms before weighting."""
        return (pred - target).abs()

    def forward(self, pred: Float[Tensor, '*N'], target: Float[Tensor, '*N'], weight: Tensor | None = None, *,
                avg_factor: float | int | Tensor | None = None) -> Float[Tensor, '...']:
        """Return the loss; ``weight`` and ``avg_factor`` as in :func:`~maskforge.losses.reduce_loss`."""
        terms = self.elementwise(pred.float(), target.float())
        return self.loss_weight * reduce_loss(terms, weight, reduction=self.reduction, avg_factor=avg_factor)


@MODELS.register_module()
class SmoothL1Loss(L1Loss):
    """Smooth L1: quadratic below ``beta``, linear above, in float32.

    Raises:
        ValueError: ``beta`` is not positive (take L1Loss for the limit 0).
    """

    def __init__(self, *, beta: float | int = 1.0, reduction: str = 'mean', loss_weight: float | int = 1.0) -> None:
        super().__init__(reduction=reduction, loss_weight=loss_weight)
        if beta <= 0:
            raise ValueError(f'SmoothL1Loss: beta must be positive, got {beta}; L1Loss is its limit at 0.')
        self.beta = beta

    def elementwise(self, pred: Float[Tensor, '*N'], target: Float[Tensor, '*N']) -> Float[Tensor, '*N']:
        """Return the terms before weighting."""
        return smooth_l1(pred, target, self.beta)
