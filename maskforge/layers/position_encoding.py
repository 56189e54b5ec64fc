"""Sine position codes of two-dimensional maps (Carion et al., ECCV 2020, appendix A.4)."""
import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class SinePositionEncoding(nn.Module):
    """Codes of rows, then of columns; sine and cosine alternate, wavelengths grow from 2 pi to 2 pi ``temperature``.

    Positions count the pixels that are not padding, and are divided by the number of them, so that a code depends on
    the place in the image and not on the batch's padding. Always float32.

    Args:
        num_feats: channels per axis.
        temperature: base of the wavelengths.
        normalize: divide by the last position, to the range 0 .. ``scale``.
        scale: see ``normalize``.
        eps: keeps the division apart from zero.
        offset: added to positions, which count from 1: -0.5 for pixel centres.
    """

    def __init__(self, num_feats: int = 128, *, temperature: float | int = 10000, normalize: bool = True,
                 scale: float | int = 2 * math.pi, eps: float = 1e-6, offset: float | int = 0.) -> None:
        super().__init__()
        self.num_feats, self.temperature, self.normalize = num_feats, temperature, normalize
        self.scale, self.eps, self.offset = scale, eps, offset

    def forward(self, padding: Bool[Tensor, 'B H W']) -> Float[Tensor, 'B C H W']:
        """Return the codes, C = 2 * ``num_feats``; ``padding`` is True where there is no image."""
        inside = (~padding).float()
        codes = [self._along(inside, axis) for axis in (1, 2)]
        return torch.cat(codes, dim=-1).permute(0, 3, 1, 2)

    def of_map(self, level: Float[Tensor, 'B _ H W']) -> Float[Tensor, '1 H*W C']:
        """Return the codes of a map without padding, token by token.

        They are those of its first column and row: few sines.
        """
        height, width = level.shape[-2:]
        column, row = (torch.ones_like(edge, dtype=torch.float32) for edge in (level[:1, 0, :, 0], level[:1, 0, 0]))
        rows, columns = (self._along(edge, 1) for edge in (column, row))
        codes = (rows[:, :, None].expand(-1, -1, width, -1), columns[:, None].expand(-1, height, -1, -1))
        return torch.cat(codes, dim=-1).flatten(1, 2)

    def _along(self, inside: Float[Tensor, '*B'], axis: int) -> Float[Tensor, '*B F']:
        position = inside.cumsum(axis)
        if self.normalize:
            last = position.narrow(axis, -1, 1) if not torch.jit.is_tracing() else position.amax(axis, keepdim=True)
            position = (position + self.offset) / (last + self.eps) * self.scale
        else:
            position = position + self.offset
        return sine_code(position, self.num_feats, temperature=self.temperature)


def sine_code(position: Float[Tensor, '*B'], num_feats: int, *,
              temperature: float | int = 10000) -> Float[Tensor, '*B F']:
    """Return ``num_feats`` channels per position: sine and cosine of position / temperature^(2 i / num_feats)."""
    index = torch.arange(num_feats, dtype=torch.float32, device=position.device)
    wavelength = temperature ** (2 * torch.div(index, 2, rounding_mode='floor') / num_feats)
    angle = position[..., None] / wavelength
    return torch.stack((angle[..., 0::2].sin(), angle[..., 1::2].cos()), dim=-1).flatten(-2)
