"""Position codes: sine maps, rotations of queries and keys, distances in time.

Codes of maps depend on the map's size alone and are kept for each size and device, in float32.
"""
import functools
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from maskforge.layers.position_encoding import SinePositionEncoding
from maskforge.ops.exporting import is_recorded

#: sizes and devices that are kept
KEPT = 32


def _kept(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Keep the result per arguments, except while a graph is traced, when tensors are not real."""
    @functools.lru_cache(KEPT)
    def remembered(*args) -> Tensor:
        # a tensor made in inference mode could not take part in training later
        with torch.inference_mode(False), torch.no_grad():
            return make(*args)

    @functools.wraps(make)
    def code(*args) -> Tensor:
        return make(*args) if torch.compiler.is_compiling() else remembered(*args)
    return code


@_kept
def sine_map(channels: int, height: int, width: int, device: torch.device) -> Float[Tensor, '1 C h w']:
    """Return the sine code of every place of a map, half the channels for rows, half for columns."""
    inside = torch.zeros(1, height, width, dtype=torch.bool, device=device)
    return SinePositionEncoding(channels // 2)(inside)


@_kept
def rotation_table(channels: int, height: int, width: int, device: torch.device) -> Float[Tensor, 'S C2 2']:
    """Return cosine and sine of the angle by which each pair of channels is turned at each place (row by row).

    The first half of the pairs turns with x, the second with y; frequencies are 10000^(-4 i / channels) (Su et al.
    2021; on two axes: Heo et al. 2024).
    """
    frequency = 10000. ** -(torch.arange(0, channels, 4, device=device)[:channels // 4].float() / channels)
    x = torch.arange(width, device=device).float()[:, None] * frequency
    y = torch.arange(height, device=device).float()[:, None] * frequency
    angle = torch.cat((x.expand(height, -1, -1), y[:, None].expand(-1, width, -1)), dim=-1).flatten(0, 1)
    return torch.stack((angle.cos(), angle.sin()), dim=-1)


def rotate(x: Float[Tensor, '*N S C'], table: Float[Tensor, 'S C2 2']) -> Float[Tensor, '*N S C']:
    """Return queries or keys with neighbouring channels (2 i, 2 i + 1) turned by the table's angles, in float32."""
    pairs = x.float().unflatten(-1, (-1, 2))
    if x.device.type == 'cpu' and not is_recorded():
        # one pass instead of seven over every second number; compilers and exporters know no complex ones
        turned = torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(table))
    else:
        (first, second), (cos, sin) = pairs.unbind(-1), table.unbind(-1)
        turned = torch.stack((first * cos - second * sin, first * sin + second * cos), dim=-1)
    return turned.flatten(-2).type_as(x)


def distance_code(distance: Float[Tensor, ' T'], channels: int) -> Float[Tensor, 'T C']:
    """Return the sine code of distances in time: sines, then cosines."""
    half = channels // 2
    index = torch.arange(half, dtype=torch.float32, device=distance.device)
    angle = distance[:, None] / 10000. ** (2 * torch.div(index, 2, rounding_mode='floor') / half)
    return torch.cat((angle.sin(), angle.cos()), dim=-1)
