"""Blocks of the Hiera trunk (Ryali et al. 2023; Ravi et al. 2024, appendix D.1) without work on padding.

Legend: B images, H W places of the block's map, C and D channels before and after it, h w sides of a window.
"""
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.layers.linear import Linear, activated
from maskforge.models.sam2.hiera_strips import attend_in_windows, pooled, strip_rows, window_order
from maskforge.ops.exporting import is_recorded


class HieraBlock(nn.Module):
    """A block of timm's trunk with its parts, names and numbers, and another order of work.

    Where windows do not fit the map, it is filled up with zeros before attention. What a zero becomes as query, key and
    value is the same everywhere, and what comes out at its place is thrown away: so linear maps run on the places of
    the map alone. At 512 x 512 pixels 42 % of their work goes, at 256 x 256 two thirds.

    Where a CPU computes without gradients, windows at the edges are smaller instead, zeros count as one key, and large
    maps are computed strip by strip: nothing is as large as to be mapped anew by the system for every block.

    Args:
        block: a ``MultiScaleBlock``; its parts become this one's.
    """

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.proj, self.norm1, self.attn, self.norm2, self.mlp = (
            block.proj, block.norm1, block.attn, block.norm2, block.mlp)
        self.attn.qkv, self.attn.proj = Linear.of(self.attn.qkv), Linear.of(self.attn.proj)
        self.mlp.fc1, self.mlp.fc2 = Linear.of(self.mlp.fc1), Linear.of(self.mlp.fc2)
        self.drop_path1, self.drop_path2, self.pool = block.drop_path1, block.drop_path2, block.pool
        self.window = tuple(block.window_size) if block.is_windowed else None
        self.stride = block.q_stride or (1, 1)
        self.widens = block.dim != block.dim_out
        if self.widens:
            self.proj = Linear.of(block.proj)

    def forward(self, x: Float[Tensor, 'B H W C']) -> Float[Tensor, 'B _ _ D']:
        """Return the map after the block, of half the size where it pools."""
        if self.window is None or not self._skips_padding(x):
            return self._whole(x)
        # a row of windows knows nothing of the others
        strips = x.split(strip_rows(x, self.window), dim=1)
        return self._whole(x) if len(strips) == 1 else torch.cat([self._whole(strip) for strip in strips], 1)

    def _whole(self, x: Float[Tensor, 'B H W C']) -> Float[Tensor, 'B _ _ D']:
        own = self.norm1(x)
        if self.widens:
            x = self._pooled(self.proj(own))
        x = x + self.drop_path1(self._attention(own))
        return x + self.drop_path2(self.mlp.fc2(activated(self.mlp.fc1, self.norm2(x), 'gelu')))

    def _skips_padding(self, x: Float[Tensor, 'B H W C']) -> bool:
        """On a CPU without gradients there is a way with less work; graphs are written of the plain one."""
        return (x.device.type == 'cpu' and not torch.is_grad_enabled() and not self.training and self.attn.fused_attn
                and not is_recorded())

    def _attention(self, x: Float[Tensor, 'B H W C']) -> Float[Tensor, 'B _ _ D']:
        height, width = x.shape[1:3]
        window = self.window or (height, width)
        looking = window[0] // self.stride[0], window[1] // self.stride[1]
        size = height // self.stride[0], width // self.stride[1]
        if self._skips_padding(x):
            return self._attention_without_padding(x, window, looking, size)
        q, k, v = self._projected(x, window, looking)
        if self.attn.fused_attn:
            found = F.scaled_dot_product_attention(q, k, v)
        else:
            found = (q * self.attn.scale @ k.transpose(-2, -1)).softmax(-1) @ v
        windows = found.transpose(1, 2).reshape(-1, *looking, self.attn.dim_out)
        return self.attn.proj(from_windows(windows, size))

    def _attention_without_padding(self, x: Float[Tensor, 'B H W C'], window: tuple[int, int],
                                   looking: tuple[int, int], size: tuple[int, int]) -> Float[Tensor, 'B _ _ D']:
        order, order_after = window_order(tuple(x.shape[1:3]), window), window_order(size, looking)
        smaller = any(kind[1:] != window for kind in order.kinds)
        filler = self.attn.qkv(x.new_zeros(x.shape[-1])) if smaller else None
        found = attend_in_windows(self.attn.qkv(order.windows_of(x)), order.kinds, filler, window=window,
                                  stride=self.stride, heads=self.attn.num_heads)
        return order_after.map_of(self.attn.proj(found)).unflatten(1, size)

    def _projected(self, x: Float[Tensor, 'B H W C'], window: tuple[int, int],
                   looking: tuple[int, int]) -> list[Float[Tensor, 'N heads S E']]:
        """Queries in windows of the size ``looking``, keys and values in windows of the size ``window``."""
        if x.shape[1] % window[0] or x.shape[2] % window[1]:
            filler = self.attn.qkv(x.new_zeros(x.shape[-1]))
            parts = to_windows(self.attn.qkv(x), window, filler)
        else:
            parts = self.attn.qkv(to_windows(x, window))
        q, k, v = parts.chunk(3, dim=-1)
        if looking != window:
            q = self._pooled(q)
        heads, batch = self.attn.num_heads, parts.shape[0]
        return [part.reshape(batch, part.shape[1] * part.shape[2], heads, -1).transpose(1, 2) for part in (q, k, v)]

    def _pooled(self, x: Float[Tensor, 'B H W D']) -> Float[Tensor, 'B _ _ D']:
        if self.pool is None:
            return x
        if self._skips_padding(x):
            return pooled(x, self.stride)
        return self.pool(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def to_windows(x: Float[Tensor, 'B H W C'], window: tuple[int, int],
               filler: Float[Tensor, ' C'] | None = None) -> Float[Tensor, 'N h w C']:
    """Return the map cut into windows, row by row.

    Args:
        window: h, w.
        filler: stands at the places that the map is filled up with below and on the right; None where it fits.
    """
    batch, height, width, channels = x.shape
    rows, columns = _windows_along(height, window[0]), _windows_along(width, window[1])
    if filler is not None:
        x = torch.cat((x, filler.expand(batch, height, columns * window[1] - width, -1)), 2)
        x = torch.cat((x, filler.expand(batch, rows * window[0] - height, columns * window[1], -1)), 1)
    cut = x.reshape(batch, rows, window[0], columns, window[1], channels)
    return cut.transpose(2, 3).reshape(-1, *window, channels)


def from_windows(windows: Float[Tensor, 'N h w C'], size: tuple[int, int]) -> Float[Tensor, 'B H W C']:
    """Return the map of ``size`` (H, W) that windows were cut from, without what it was filled up with."""
    (height, width), (high, wide, channels) = size, windows.shape[1:]
    rows, columns = _windows_along(height, high), _windows_along(width, wide)
    grid = windows.reshape(-1, rows, columns, high, wide, channels).transpose(2, 3)
    return grid.reshape(-1, rows * high, columns * wide, channels)[:, :height, :width]


def _windows_along(side: int, window: int) -> int:
    # not by negative numbers, whose quotients ONNX rounds the other way
    return (side + window - 1) // window
