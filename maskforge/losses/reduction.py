"""How losses are weighted and averaged, said once."""
from jaxtyping import Float
from torch import Tensor


def reduce_loss(loss: Float[Tensor, '*N'], weight: Tensor | None = None, *, reduction: str = 'mean',
                avg_factor: float | int | Tensor | None = None) -> Float[Tensor, '...']:
    """Weight, then sum and divide.

    Args:
        weight: of the loss's shape, or of its leading axes.
        reduction: 'none', 'sum', or 'mean': divided by ``avg_factor`` where given, else by the number of terms
            (0 for no terms, still connected to the graph).

    Raises:
        ValueError: an ``avg_factor`` with reduction 'sum', which would not be used.
    """
    if weight is not None:
        weight = weight.float()
        loss = loss * weight.reshape(weight.shape + (1,) * (loss.dim() - weight.dim()))
    if reduction == 'none':
        return loss
    if reduction == 'sum':
        if avg_factor is not None:
            raise ValueError("A loss with reduction='sum' takes no avg_factor; use reduction='mean'.")
        return loss.sum()
    return loss.sum() / (max(loss.numel(), 1) if avg_factor is None else avg_factor)
