"""The decoder: queries attend to one another, then to the image (Zhu et al., ICLR 2021, section 4.1)."""
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from maskforge.layers.attention import MultiHeadAttention
from maskforge.layers.deformable_encoder import run_layer
from maskforge.layers.linear import Linear, activated
from maskforge.layers.multi_scale_deformable_attention import MultiScaleDeformableAttention
from maskforge.models.deformable_detr.feature_levels import Tokens
from maskforge.models.deformable_detr.heads import PredictionHeads, inverse_sigmoid


class DeformableDecoderLayer(nn.Module):
    """Self-attention, deformable attention to the memory, feed-forward network; each normalised after its sum.

    Args:
        embed_dims, num_heads, num_levels, num_points, mask_value: of the attentions.
        feedforward_channels: hidden width of the feed-forward network (ReLU).
        dropout: after every part, after the activation and on the self-attention's weights.
    """

    def __init__(self, embed_dims: int = 256, *, num_heads: int = 8, num_levels: int = 4, num_points: int = 4,
                 feedforward_channels: int = 1024, dropout: float | int = 0.1, mask_value: bool = True) -> None:
        super().__init__()
        self.self_attn = MultiHeadAttention(embed_dims, num_heads, dropout=dropout)
        self.self_attn_norm = nn.LayerNorm(embed_dims)
        self.cross_attn = MultiScaleDeformableAttention(embed_dims, num_heads, num_levels, num_points,
                                                        mask_value=mask_value)
        self.cross_attn_norm = nn.LayerNorm(embed_dims)
        self.linear1 = Linear(embed_dims, feedforward_channels)
        self.linear2 = Linear(feedforward_channels, embed_dims)
        self.ffn_norm = nn.LayerNorm(embed_dims)
        self.dropout = nn.Dropout(dropout)
        for weight in (self.self_attn.in_proj_weight, self.self_attn.out_proj.weight, self.linear1.weight,
                       self.linear2.weight):
            nn.init.xavier_uniform_(weight)

    def forward(self, x: Float[Tensor, 'B Q C'], position: Float[Tensor, 'B Q C'],
                reference_points: Float[Tensor, 'B Q L R'], memory: Float[Tensor, 'B S C'],
                tokens: Tokens) -> Float[Tensor, 'B Q C']:
        """Return the queries' content after the layer."""
        query = x + position
        attended = self.self_attn(query, query, x)
        x = self.self_attn_norm(x + self.dropout(attended))
        attended = self.cross_attn(x + position, value=memory, reference_points=reference_points,
                                   level_shapes=tokens.shapes, padding=tokens.padding)
        x = self.cross_attn_norm(x + self.dropout(attended))
        hidden = self.linear2(self.dropout(activated(self.linear1, x, 'relu')))
        return self.ffn_norm(x + self.dropout(hidden))


class Queries(NamedTuple):
    """What the decoder starts from.

    Attributes:
        content, position: (B, Q, C).
        reference: (B, Q, 2) points or (B, Q, 4) boxes cxcywh, in [0, 1] of the image without its padding.
    """

    content: Float[Tensor, 'B Q C']
    position: Float[Tensor, 'B Q C']
    reference: Float[Tensor, 'B Q R']


class DeformableDecoder(nn.Module):
    """A stack of :class:`DeformableDecoderLayer` whose boxes are refined layer by layer where asked for.

    Args:
        num_layers: how many.
        with_box_refine: each layer predicts relative to the box of the one before.
        activation_checkpoint: recompute each layer in the backward pass.
        **layer: arguments of the layers.
    """

    def __init__(self, num_layers: int = 6, *, with_box_refine: bool = False, activation_checkpoint: bool = False,
                 **layer) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DeformableDecoderLayer(**layer) for _ in range(num_layers))
        self.with_box_refine, self.activation_checkpoint = with_box_refine, activation_checkpoint

    def forward(self, queries: Queries, memory: Float[Tensor, 'B S C'], tokens: Tokens, heads: PredictionHeads, *,
                all_layers: bool) -> tuple[Float[Tensor, 'N B Q K'], Float[Tensor, 'N B Q 4']]:
        """Return the class logits and the boxes (cxcywh) of all layers, or of the last one (N = 1).

        The box head of a layer runs once: its box is both the layer's output and, detached, the next reference.
        """
        x, reference = queries.content, queries.reference
        logits, boxes = [], []
        for number, layer in enumerate(self.layers):
            x = run_layer(layer, x, queries.position, _in_levels(reference, tokens.valid_ratios), memory, tokens,
                          recompute=self.activation_checkpoint)
            is_output = all_layers or number == len(self.layers) - 1
            if not (is_output or self.with_box_refine):
                continue
            box = refine(heads.box_head(number)(x), reference)
            if is_output:
                logits.append(heads.cls_head(number)(x).float())
                boxes.append(box)
            if self.with_box_refine:
                reference = box.detach()
        return torch.stack(logits), torch.stack(boxes)


def refine(delta: Float[Tensor, 'B Q 4'], reference: Float[Tensor, 'B Q R']) -> Float[Tensor, 'B Q 4']:
    """Return sigmoid(delta + logit(reference)); a point moves the centre only. float32."""
    logit = inverse_sigmoid(reference.float())
    delta = delta.float()
    if reference.shape[-1] == 4:
        return (delta + logit).sigmoid()
    return torch.cat((delta[..., :2] + logit, delta[..., 2:]), dim=-1).sigmoid()


def _in_levels(reference: Float[Tensor, 'B Q R'], ratios: Float[Tensor, 'B L 2']) -> Float[Tensor, 'B Q L R']:
    """From parts of the image to parts of each padded level."""
    scale = ratios if reference.shape[-1] == 2 else torch.cat((ratios, ratios), dim=-1)
    return reference[:, :, None] * scale[:, None]
