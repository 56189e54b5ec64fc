"""A small multi-layer perceptron."""
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers with ReLU between them.

    Args:
        in_channels, hidden_channels, out_channels: widths; ``num_layers`` - 1 hidden ones.
    """

    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int, num_layers: int) -> None:
        super().__init__()
        widths = [in_channels, *[hidden_channels] * (num_layers - 1), out_channels]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Float[Tensor, '*B _']) -> Float[Tensor, '*B _']:
        """Return the last layer's output, without an activation."""
        for layer in self.layers[:-1]:
            x = layer(x).relu_()
        return self.layers[-1](x)
