"""What the network says, before losses or post-processing."""
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class SetPredictions:
    """Raw outputs of the decoder layers and, with two stages, of the encoder.

    Legend: N decoder layers (1 without auxiliary losses), B images, Q queries, S tokens, K classes.

    Attributes:
        logits: per class, before the sigmoid.
        boxes_cxcywh: in [0, 1] of the image without its padding.
        encoder_logits, encoder_boxes_cxcywh: the first stage's, or None.
    """

    logits: Float[Tensor, 'N B Q K']
    boxes_cxcywh: Float[Tensor, 'N B Q 4']
    encoder_logits: Float[Tensor, 'B S K'] | None = None
    encoder_boxes_cxcywh: Float[Tensor, 'B S 4'] | None = None
