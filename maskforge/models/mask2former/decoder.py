"""The decoder with masked attention (Cheng et al., CVPR 2022, section 3.2)."""
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.layers.attention import MultiHeadAttention
from maskforge.layers.deformable_encoder import run_layer
from maskforge.layers.linear import Linear, activated
from maskforge.layers.mlp import MLP
from maskforge.layers.position_encoding import SinePositionEncoding
from maskforge.models.mask2former.predictions import MaskPredictions

#: levels that the layers visit in turn
NUM_LEVELS = 3


class MaskedAttentionLayer(nn.Module):
    """Cross-attention inside the predicted masks, self-attention, feed-forward network.

    Args:
        embed_dims, num_heads: C and H.
        feedforward_channels: hidden width (ReLU).
        dropout: after every part, after the activation and on attention weights.
        pre_norm: normalise what enters each part rather than what leaves it.
    """

    def __init__(self, embed_dims: int = 256, *, num_heads: int = 8, feedforward_channels: int = 2048,
                 dropout: float | int = 0., pre_norm: bool = False) -> None:
        super().__init__()
        self.cross_attn = MultiHeadAttention(embed_dims, num_heads, dropout=dropout)
        self.self_attn = MultiHeadAttention(embed_dims, num_heads, dropout=dropout)
        self.linear1 = Linear(embed_dims, feedforward_channels)
        self.linear2 = Linear(feedforward_channels, embed_dims)
        self.norm_cross, self.norm_self, self.norm_ffn = (nn.LayerNorm(embed_dims) for _ in range(3))
        self.dropout, self.pre_norm = nn.Dropout(dropout), pre_norm
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, x: Float[Tensor, 'B Q C'], position: Float[Tensor, 'B Q C'], key: Float[Tensor, 'B S C'],
                value: Float[Tensor, 'B S C'], blocked: Bool[Tensor, 'B Q S']) -> Float[Tensor, 'B Q C']:
        """Return the queries' content after the layer.

        Args:
            position: added to queries, and in the self-attention to keys.
            key: the memory with its position codes; ``value``: without them.
            blocked: True where a query may not look.
        """
        x = self._add(x, self.norm_cross, lambda x: self.cross_attn(x + position, key, value, blocked=blocked))
        x = self._add(x, self.norm_self, lambda x: self._attend_to_queries(x, x + position))
        return self._add(x, self.norm_ffn, lambda x: self.linear2(self.dropout(activated(self.linear1, x, 'relu'))))

    def _attend_to_queries(self, x: Tensor, placed: Tensor) -> Tensor:
        return self.self_attn(placed, placed, x)

    def _add(self, x: Tensor, norm: nn.LayerNorm, part) -> Tensor:
        if self.pre_norm:
            return x + self.dropout(part(norm(x)))
        return norm(x + self.dropout(part(x)))


class MaskedAttentionDecoder(nn.Module):
    """Learnt queries become classes and masks; each layer looks at the level of its turn, coarse to fine.

    Legend: B images, Q queries, K classes, C and M channels, S places of a level.

    Args:
        in_channels: C of the memory's maps (no projection is needed: the pixel decoder has the same width).
        num_classes: K; the class head has one more row, the last, for "no object".
        num_queries: Q.
        num_layers: how many.
        mask_dim: M.
        activation_checkpoint: recompute each layer in the backward pass.
        num_heads, feedforward_channels, dropout, pre_norm: of the layers.
    """

    def __init__(self, in_channels: int = 256, *, num_classes: int, num_queries: int = 100, num_layers: int = 9,
                 mask_dim: int = 256, activation_checkpoint: bool = False, num_heads: int = 8,
                 feedforward_channels: int = 2048, dropout: float | int = 0., pre_norm: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            MaskedAttentionLayer(in_channels, num_heads=num_heads, feedforward_channels=feedforward_channels,
                                 dropout=dropout, pre_norm=pre_norm) for _ in range(num_layers))
        self.query_feat = nn.Embedding(num_queries, in_channels)
        self.query_embed = nn.Embedding(num_queries, in_channels)
        self.level_embed = nn.Embedding(NUM_LEVELS, in_channels)
        self.norm = nn.LayerNorm(in_channels)
        self.class_embed = nn.Linear(in_channels, num_classes + 1)
        self.mask_embed = MLP(in_channels, in_channels, mask_dim, 3)
        self.position_encoding = SinePositionEncoding(in_channels // 2)
        self.activation_checkpoint = activation_checkpoint

    def forward(self, mask_features: Float[Tensor, 'B M h w'], memory: Sequence[Float[Tensor, 'B C _ _']], *,
                all_layers: bool) -> MaskPredictions:
        """Return the predictions from the raw queries and after every layer, or after the last alone.

        Args:
            mask_features: of the pixel decoder.
            memory: its maps of strides 32, 16 and 8.
        """
        keys, values = self._memory(memory)
        # masks are needed at the size of each level: resizing their features once replaces resizing them in each layer
        resized = [_resize(mask_features.detach(), level.shape[-2:]).flatten(2) for level in memory]
        x = self.query_feat.weight.expand(mask_features.shape[0], -1, -1)
        position = self.query_embed.weight.expand(mask_features.shape[0], -1, -1)
        states = [self.norm(x)]
        for number, layer in enumerate(self.layers):
            level = number % NUM_LEVELS
            blocked = self._blocked(states[-1], resized[level])
            x = run_layer(layer, x, position, keys[level], values[level], blocked,
                          recompute=self.activation_checkpoint)
            states.append(self.norm(x))
        states = torch.stack(states if all_layers else states[-1:])
        return MaskPredictions(self.class_embed(states).float(), self.mask_embed(states), mask_features)

    def _memory(self, memory: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Keys (with position codes) and values (without) of each level, (B, S, C)."""
        values = [level.flatten(2).transpose(1, 2) + code for level, code in zip(memory, self.level_embed.weight)]
        return [value + self.position_encoding.of_map(level) for value, level in zip(values, memory)], values

    @torch.no_grad()
    def _blocked(self, state: Float[Tensor, 'B Q C'], features: Float[Tensor, 'B M S']) -> Bool[Tensor, 'B Q S']:
        """True outside the predicted masks; a query whose mask is empty looks everywhere."""
        blocked = self.mask_embed(state) @ features < 0
        return blocked & ~blocked.all(-1, keepdim=True)


def _resize(features: Float[Tensor, 'B M h w'], size: Sequence[int]) -> Float[Tensor, 'B M _ _']:
    return F.interpolate(features, size=tuple(size), mode='bilinear', align_corners=False)
