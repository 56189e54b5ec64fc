"""Layer normalisation over the channels of maps."""
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class LayerNorm2d(nn.Module):
    """Normalise the channels of every place of a map.

    It is not an ``nn.LayerNorm``, so that optimizer rules by module class treat it as the release does: its weight
    decays, those of ``nn.LayerNorm`` do not.

    Args:
        channels: C.
        eps: added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.normalized_shape, self.eps = (channels,), eps

    def forward(self, x: Float[Tensor, 'N C H W']) -> Float[Tensor, 'N C H W']:
        """Return the normalised map."""
        x = x.permute(0, 2, 3, 1)
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)
