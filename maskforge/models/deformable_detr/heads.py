"""Class and box heads, shared by the decoder's layers or one each."""
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maskforge.layers.mlp import MLP

#: probability that a fresh head gives every class
PRIOR = 0.01
#: logit of width and height of a fresh head's box: a part of 0.12 of the image
SMALL_BOX = -2.0


class PredictionHeads(nn.Module):
    """One class head (linear) and one box head (three layers) per prediction.

    Args:
        hidden_dim, num_classes: C and K.
        num_layers: of the decoder.
        separate: heads of their own for every layer (box refinement), else one shared pair.
        two_stage: one more pair for the encoder's proposals.
    """

    def __init__(self, hidden_dim: int, num_classes: int, num_layers: int, *, separate: bool, two_stage: bool) -> None:
        super().__init__()
        count = num_layers + two_stage if separate else 1
        self.cls = nn.ModuleList(nn.Linear(hidden_dim, num_classes) for _ in range(count))
        self.box = nn.ModuleList(MLP(hidden_dim, hidden_dim, 4, num_layers=3) for _ in range(count))
        for head in self.cls:
            nn.init.constant_(head.bias, -math.log((1 - PRIOR) / PRIOR))
        for number, head in enumerate(self.box):
            nn.init.zeros_(head.layers[-1].weight)
            nn.init.zeros_(head.layers[-1].bias)
            if number == 0 and not two_stage:
                # later layers refine the first one's box, and proposals have sizes of their own
                nn.init.constant_(head.layers[-1].bias[2:], SMALL_BOX)

    def cls_head(self, layer: int) -> nn.Module:
        """The class head of a decoder layer, counted from 0; the encoder's follows the last."""
        return self.cls[layer if len(self.cls) > 1 else 0]

    def box_head(self, layer: int) -> nn.Module:
        """The box head of a decoder layer, counted from 0; the encoder's follows the last."""
        return self.box[layer if len(self.box) > 1 else 0]

    def without_loss(self, num_layers: int) -> list[str]:
        """Names, in the model, of the heads that learn nothing if only the last of the layers has a loss.

        Boxes go detached from layer to layer, so these parameters never have a gradient, which distributed training
        would wait for.
        """
        earlier = range(num_layers - 1) if len(self.cls) > 1 else ()
        return [f'heads.{kind}.{layer}' for kind in ('cls', 'box') for layer in earlier]


def inverse_sigmoid(x: Float[Tensor, '*B'], eps: float = 1e-5) -> Float[Tensor, '*B']:
    """Return log(x / (1 - x)) of probabilities, both parts at least ``eps``."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))
