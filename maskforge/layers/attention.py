"""Multi-head attention of batches, with a mask that all heads of an image share."""
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.layers.linear import linear


class MultiHeadAttention(nn.MultiheadAttention):
    """``nn.MultiheadAttention`` without its weights as an output (Vaswani et al., 2017, section 3.2.2).

    The names and shapes of the parameters are torch's. A mask is one per image rather than one per image and head, so
    that nothing is repeated.

    Args:
        embed_dims: C, divisible by ``num_heads``.
        num_heads: H.
        dropout: on the attention's weights.

    Attributes:
        explicit: compute by plain matrix products, which exporters of old operator sets need.
    """

    def __init__(self, embed_dims: int, num_heads: int, *, dropout: float | int = 0.) -> None:
        super().__init__(embed_dims, num_heads, dropout=dropout, batch_first=True)
        self.explicit = False

    def forward(self, query: Float[Tensor, 'B Q C'], key: Float[Tensor, 'B S C'], value: Float[Tensor, 'B S C'], *,
                blocked: Bool[Tensor, 'B Q S'] | None = None) -> Float[Tensor, 'B Q C']:
        """Return what every query gathers from the values.

        Args:
            blocked: True where a query may not look; no row may be True throughout.
        """
        q, k, v = self._project(query, key, value)
        if self.explicit:
            attended = self._by_products(q, k, v, blocked)
        else:
            attended = F.scaled_dot_product_attention(q, k, v, None if blocked is None else ~blocked[:, None],
                                                      dropout_p=self.dropout if self.training else 0.)
        return self.out_proj(attended.transpose(1, 2).flatten(-2))

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> list[Float[Tensor, 'B H _ D']]:
        weight, bias = self.in_proj_weight, self.in_proj_bias
        size = self.embed_dim
        if query is key:
            q, k = linear(query, weight[:2 * size], bias[:2 * size]).chunk(2, dim=-1)
        else:
            q = linear(query, weight[:size], bias[:size])
            k = linear(key, weight[size:2 * size], bias[size:2 * size])
        v = linear(value, weight[2 * size:], bias[2 * size:])
        return [x.reshape(*x.shape[:2], self.num_heads, self.head_dim).transpose(1, 2) for x in (q, k, v)]

    def _by_products(self, q: Tensor, k: Tensor, v: Tensor, blocked: Tensor | None) -> Float[Tensor, 'B H Q D']:
        logits = q @ k.transpose(-2, -1) * self.head_dim**-0.5
        if blocked is not None:
            logits = logits.masked_fill(blocked[:, None], float('-inf'))
        return F.dropout(logits.softmax(-1), self.dropout, self.training) @ v


def make_attention_explicit(model: nn.Module) -> None:
    """In place: compute every attention by plain matrix products, ours and that of timm's blocks.

    Operator sets below 14 have no fused attention.
    """
    for module in model.modules():
        if isinstance(module, MultiHeadAttention):
            module.explicit = True
        elif hasattr(module, 'fused_attn'):
            module.fused_attn = False
