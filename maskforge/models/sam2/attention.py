"""Attention of the mask decoder and of memory attention."""
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from maskforge.layers.linear import Linear, linear
from maskforge.models.sam2.position_encoding import rotate

#: attention weights that exist at once where dropout keeps a CPU from its fused kernel: 16 MB in float32
CHUNK_WEIGHTS = 2**22
#: the same where nothing but a product with the values comes after them: they stay in the cache
CACHED_WEIGHTS = 2**20


class Attention(nn.Module):
    """Multi-head attention with separate projections, whose inner width may be smaller.

    Args:
        embed_dims: C; ``inner_dims``: of queries, keys and values, C by default.
        num_heads: divides ``inner_dims``.
        memory_dims: channels of keys and values before projection, C by default.
        dropout: on the attention's weights.
    """

    def __init__(self, embed_dims: int, *, num_heads: int = 1, inner_dims: int | None = None,
                 memory_dims: int | None = None, dropout: float | int = 0.) -> None:
        super().__init__()
        inner_dims, memory_dims = inner_dims or embed_dims, memory_dims or embed_dims
        self.num_heads, self.dropout = num_heads, dropout
        # operator sets of ONNX below 14 have none: layers.attention.make_attention_explicit
        self.fused_attn = True
        self.q_proj = Linear(embed_dims, inner_dims)
        self.k_proj = Linear(memory_dims, inner_dims)
        self.v_proj = Linear(memory_dims, inner_dims)
        self.out_proj = Linear(inner_dims, embed_dims)

    def forward(self, query: Float[Tensor, 'N Q C'], key: Float[Tensor, 'N S K'],
                value: Float[Tensor, 'N S K']) -> Float[Tensor, 'N Q C']:
        """Return what every query gathers from the values."""
        return self._attend(*(self._heads(x) for x in (self.q_proj(query), self.k_proj(key), self.v_proj(value))))

    def _heads(self, x: Float[Tensor, 'N S C']) -> Float[Tensor, 'N H S D']:
        return x.reshape(*x.shape[:2], self.num_heads, -1).transpose(1, 2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        dropout = self.dropout if self.training else 0.
        attended = attend(q, k, v, dropout=dropout) if self.fused_attn else _attend_in_full(q, k, v, dropout)
        return self.out_proj(attended.transpose(1, 2).flatten(-2))


class RotaryAttention(Attention):
    """Attention among the places of a map, or from them to those of several maps of its size."""

    def forward(self, query: Float[Tensor, '_ Q C'], key: Float[Tensor, 'N S K'], value: Float[Tensor, 'N S K'], *,
                table: Float[Tensor, 'Q _ 2'], unplaced: int = 0) -> Float[Tensor, 'N Q C']:
        """Return what every query gathers from the values.

        Args:
            query: a row per row of the keys, or one for all.
            table: rotations of the map's places (Q of them).
            unplaced: so many keys at the end have no place and are not rotated; before them there are whole maps.
        """
        q, k = self._heads(self.q_proj(query)), self._heads(self.k_proj(key))
        placed = k.shape[-2] - unplaced
        maps = k[..., :placed, :].unflatten(-2, (-1, q.shape[-2])) if placed else k[..., :0, None, :]
        rotated = rotate(maps, table).flatten(-3, -2) if placed else maps.flatten(-3, -2)
        k = torch.cat((rotated, k[..., placed:, :]), dim=-2) if unplaced else rotated
        q = rotate(q, table).expand(k.shape[0], -1, -1, -1)
        if self.num_heads == 1 and value.shape[-1] < q.shape[-1] and q.device.type == 'cpu':
            return self._attend_narrow(q, k, value)
        return self._attend(q, k, self._heads(self.v_proj(value)))

    def _attend_narrow(self, q: Tensor, k: Tensor, value: Tensor) -> Tensor:
        """Gather the values first and project what was gathered: the same, for less than two thirds of the work.

        The weights of a query add up to 1, so the projection, a linear map and a bias, may come afterwards. What
        dropout leaves of them adds up to something else, which the bias is multiplied by: a column of ones counts it.
        """
        dropout = self.dropout if self.training else 0.
        if not dropout:
            return self.out_proj(self.v_proj(attend(q, k, value[:, None])[:, 0]))
        gathered = attend(q, k, F.pad(value, (0, 1), value=1.)[:, None], dropout=dropout)[:, 0]
        bias = self.v_proj(value.new_zeros(value.shape[-1]))
        return self.out_proj(self.v_proj(gathered[..., :-1]) + (gathered[..., -1:] - 1) * bias)


def attend(q: Float[Tensor, 'N H Q D'], k: Float[Tensor, 'N H S D'], v: Float[Tensor, 'N H S E'], *,
           dropout: float | int = 0.) -> Float[Tensor, 'N H Q E']:
    """Return scaled dot-product attention (Vaswani et al. 2017, section 3.2.1) with dropout on its weights.

    With dropout, or with values of another width than the keys', torch has no fused kernel for CPUs and would keep all
    of the weights, twice, for the backward pass. There, the queries come in chunks whose weights are computed again in
    the backward pass: the same distribution (softmax and dropout are per query), memory for one chunk.
    """
    if q.device.type != 'cpu' or (not dropout and v.shape[-1] == q.shape[-1]):
        return F.scaled_dot_product_attention(q, k, v, dropout_p=float(dropout))
    if not dropout and not torch.is_grad_enabled():
        rows = [_attend_row(*row) for row in zip(*(x.flatten(0, 1) for x in (q, k, v)))]
        return torch.stack(rows).unflatten(0, q.shape[:2])
    rows = max(CHUNK_WEIGHTS // max(q.shape[0] * q.shape[1] * k.shape[2], 1), 1)
    chunks = [checkpoint(_attend_in_full, chunk, k, v, dropout, use_reentrant=False) for chunk in q.split(rows, 2)]
    return torch.cat(chunks, dim=2)


def _attend_row(q: Float[Tensor, 'Q D'], k: Float[Tensor, 'S D'], v: Float[Tensor, 'S E']) -> Float[Tensor, 'Q E']:
    values, rows = v.t().contiguous(), max(CACHED_WEIGHTS // max(len(k), 1), 1)
    parts = (q * q.shape[-1]**-0.5).split(rows)
    return torch.cat([linear(linear(part, k).softmax(-1), values) for part in parts])


def _attend_in_full(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> Tensor:
    weights = (q * q.shape[-1]**-0.5 @ k.transpose(-2, -1)).softmax(-1)
    return (F.dropout(weights, dropout) if dropout else weights).to(v.dtype) @ v
