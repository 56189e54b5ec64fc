"""Dice losses of soft masks."""
from jaxtyping import Float, Shaped
from torch import Tensor


def squared_dice_loss(pred: Float[Tensor, 'B ...'], target: Shaped[Tensor, 'B ...'], *,
                      eps: float = 1e-3) -> Float[Tensor, ' B']:
    """Return 1 - 2 <p, t> / (<p, p> + eps + <t, t> + eps) of each entry (Milletari et al. 2016), float32.

    Args:
        pred: in [0, 1].
        target: the same, or bool.
    """
    pred, target = pred.float().flatten(1), target.float().flatten(1)
    return 1 - 2 * (pred * target).sum(1) / (pred.square().sum(1) + eps + target.square().sum(1) + eps)


def dice_loss(pred: Float[Tensor, 'B ...'], target: Shaped[Tensor, 'B ...'], *,
              smooth: float | int = 1.0) -> Float[Tensor, ' B']:
    """Return 1 - (2 <p, t> + smooth) / (sum p + sum t + smooth) of each entry, float32 (Mask2Former's form).

    Args:
        pred: in [0, 1].
        target: the same, or bool.
    """
    pred, target = pred.float().flatten(1), target.float().flatten(1)
    return 1 - (2 * (pred * target).sum(1) + smooth) / (pred.sum(1) + target.sum(1) + smooth)
