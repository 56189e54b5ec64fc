"""How much masks change when their threshold moves.

Legend: H W pixels.
"""
import torch
from jaxtyping import Float
from torch import Tensor


def stability_scores(logits: Float[Tensor, '*lead H W'], *, delta: float | int,
                     mask_threshold: float | int = 0.) -> Float[Tensor, '*lead']:
    """Return the area above ``mask_threshold + delta`` over the area above ``mask_threshold - delta``.

    In [0, 1]; the larger area contains the smaller, so this is their IoU. 1 where both are empty.
    """
    sure = (logits > mask_threshold + delta).sum((-2, -1)).float()
    perhaps = (logits > mask_threshold - delta).sum((-2, -1)).float()
    return torch.where(perhaps > 0, sure / perhaps.clamp(min=1), 1.)
