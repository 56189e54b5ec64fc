"""Masks from boxes by multiple-instance learning: every row and every column of a crop is a bag of pixels."""
from jaxtyping import Float
from torch import Tensor

from .dice import squared_dice_loss


def box_mil_loss(probs: Float[Tensor, 'B S S'], rows: Float[Tensor, 'B S'],
                 columns: Float[Tensor, 'B S']) -> Float[Tensor, ' B']:
    """Return the dice loss of the rows' maxima plus that of the columns' (Lan et al. 2023, section 3.2), in [0, 2].

    Args:
        probs: probability of the foreground.
        rows, columns: how much of each row and column crosses the box, in [0, 1]: the maxima of the box's mask.
    """
    return squared_dice_loss(probs.amax(2), rows) + squared_dice_loss(probs.amax(1), columns)
