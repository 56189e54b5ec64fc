"""Stochastic depth (Huang et al. 2016)."""
from jaxtyping import Float
from torch import Tensor, nn


class DropPath(nn.Module):
    """Drop a residual branch for whole samples while training; the kept ones are scaled up.

    Args:
        rate: probability to drop, in [0, 1).

    Raises:
        ValueError: a rate out of range.
    """

    def __init__(self, rate: float | int = 0.0) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f'drop_path_rate must be in [0, 1), got {rate}.')
        self.rate = float(rate)

    def forward(self, branch: Float[Tensor, 'N ...']) -> Float[Tensor, 'N ...']:
        """Return the branch, with some samples zeroed."""
        if self.rate == 0 or not self.training:
            return branch
        keep = 1 - self.rate
        mask = branch.new_empty((len(branch),) + (1,) * (branch.dim() - 1)).bernoulli_(keep)
        return branch * mask / keep

    def extra_repr(self) -> str:
        """The rate."""
        return f'rate={self.rate}'


def linear_rates(last: float | int, depth: int) -> list[float]:
    """Rates that grow linearly over the blocks, from 0 to ``last``."""
    return [float(last) * i / max(depth - 1, 1) for i in range(depth)]
