"""Memory attention: the frame's map looks at itself and at the memories (Ravi et al. 2024, section 4)."""
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from maskforge.layers.linear import Linear, activated
from maskforge.models.sam2.attention import RotaryAttention
from maskforge.models.sam2.position_encoding import rotation_table, sine_map

#: of the map's own position code, which is added at the input alone
POSITION_WEIGHT = 0.1


class MemoryAttentionLayer(nn.Module):
    """Self-attention, attention to memories, feed-forward network, each after a norm.

    Args:
        embed_dims: C; ``memory_dims``: D; ``feedforward``: hidden width (ReLU).
        dropout: on attention weights, after every part and after the activation.
    """

    def __init__(self, embed_dims: int, *, memory_dims: int, feedforward: int, dropout: float | int) -> None:
        super().__init__()
        self.self_attn = RotaryAttention(embed_dims, dropout=dropout)
        self.cross_attn_image = RotaryAttention(embed_dims, memory_dims=memory_dims, dropout=dropout)
        self.linear1 = Linear(embed_dims, feedforward)
        self.linear2 = Linear(feedforward, embed_dims)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(embed_dims) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, '_ S C'], memory: Float[Tensor, 'N L D'], placed: Float[Tensor, 'N L D'],
                table: Float[Tensor, 'S _ 2'], unplaced: int) -> Float[Tensor, 'N S C']:
        """Return the map after the layer; ``placed`` is the memory with its position codes.

        A map of one row stands for all; its self-attention is computed once.
        """
        own = self.norm1(x)
        x = x + self.dropout(self.self_attn(own, own, own, table=table))
        x = x + self.dropout(self.cross_attn_image(self.norm2(x), placed, memory, table=table, unplaced=unplaced))
        return x + self.dropout(self.linear2(self.dropout(activated(self.linear1, self.norm3(x), 'relu'))))


class MemoryAttention(nn.Module):
    """Layers and a last norm.

    Args:
        embed_dims, memory_dims, feedforward, dropout: of the layers; ``num_layers``: how many.
        recompute: compute layers again in the backward pass.
    """

    def __init__(self, embed_dims: int = 256, *, memory_dims: int = 64, feedforward: int = 2048, num_layers: int = 4,
                 dropout: float | int = 0.1, recompute: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            MemoryAttentionLayer(embed_dims, memory_dims=memory_dims, feedforward=feedforward, dropout=dropout)
            for _ in range(num_layers))
        self.norm = nn.LayerNorm(embed_dims)
        self.recompute = recompute

    def forward(self, s16: Float[Tensor, '_ C h w'], memory: Float[Tensor, 'N L D'],
                position: Float[Tensor, '_ L D'], *, unplaced: int) -> Float[Tensor, 'N C h w']:
        """Return the conditioned map.

        Args:
            s16: a row per row of the memory, or one for all.
            memory: tokens: whole maps of h * w, then ``unplaced`` ones (of pointers).
            position: added to the memory where it is looked up, not where it is read.
        """
        channels, height, width = s16.shape[1:]
        table = rotation_table(channels, height, width, s16.device)
        x = s16 + POSITION_WEIGHT * sine_map(channels, height, width, s16.device)
        x, placed = x.flatten(2).transpose(1, 2), memory + position
        if self.training:
            x = x.expand(memory.shape[0], -1, -1)  # dropout is each row's own
        for layer in self.layers:
            if self.recompute and self.training:
                x = checkpoint(layer, x, memory, placed, table, unplaced, use_reentrant=False)
            else:
                x = layer(x, memory, placed, table, unplaced)
        return self.norm(x).transpose(1, 2).unflatten(2, (height, width))
