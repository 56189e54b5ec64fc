"""The encoder of Deformable DETR and of Mask2Former's pixel decoder: all tokens of all levels attend to one another."""
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from maskforge.ops.deformable_attention import LevelShapes

from .linear import Linear, activated
from .multi_scale_deformable_attention import MultiScaleDeformableAttention


class DeformableEncoderLayer(nn.Module):
    """Deformable self-attention, then a feed-forward network, each added to its input and normalised after.

    Args:
        embed_dims, num_heads, num_levels, num_points, mask_value: of the attention.
        feedforward_channels: hidden width of the feed-forward network (ReLU).
        dropout: after the attention, after the activation and after the network.
    """

    def __init__(self, embed_dims: int = 256, *, num_heads: int = 8, num_levels: int = 4, num_points: int = 4,
                 feedforward_channels: int = 1024, dropout: float | int = 0.1, mask_value: bool = True) -> None:
        super().__init__()
        self.self_attn = MultiScaleDeformableAttention(embed_dims, num_heads, num_levels, num_points,
                                                       mask_value=mask_value)
        self.norm1, self.norm2 = nn.LayerNorm(embed_dims), nn.LayerNorm(embed_dims)
        self.linear1 = Linear(embed_dims, feedforward_channels)
        self.linear2 = Linear(feedforward_channels, embed_dims)
        self.dropout = nn.Dropout(dropout)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, x: Float[Tensor, 'B S C'], position: Float[Tensor, 'B S C'],
                reference_points: Float[Tensor, 'B S L 2'], level_shapes: LevelShapes,
                padding: Bool[Tensor, 'B S'] | None) -> Float[Tensor, 'B S C']:
        """Return the tokens after the layer; the position code is added to the queries only."""
        attended = self.self_attn(x + position, value=x, reference_points=reference_points, level_shapes=level_shapes,
                                  padding=padding)
        x = self.norm1(x + self.dropout(attended))
        hidden = self.linear2(self.dropout(activated(self.linear1, x, 'relu')))
        return self.norm2(x + self.dropout(hidden))


class DeformableEncoder(nn.Module):
    """A stack of :class:`DeformableEncoderLayer`.

    Args:
        num_layers: how many.
        activation_checkpoint: recompute each layer in the backward pass.
        **layer: arguments of the layers.
    """

    def __init__(self, num_layers: int = 6, *, activation_checkpoint: bool = False, **layer) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DeformableEncoderLayer(**layer) for _ in range(num_layers))
        self.activation_checkpoint = activation_checkpoint

    def forward(self, x: Float[Tensor, 'B S C'], position: Float[Tensor, 'B S C'], level_shapes: LevelShapes, *,
                valid_ratios: Float[Tensor, 'B L 2'], padding: Bool[Tensor, 'B S'] | None) -> Float[Tensor, 'B S C']:
        """Return the memory.

        Args:
            valid_ratios: the part (x, y) of every level that is image and not padding.
            padding: True for tokens of the padding; None if there is none.
        """
        reference_points = encoder_reference_points(level_shapes, valid_ratios)
        for layer in self.layers:
            x = run_layer(layer, x, position, reference_points, level_shapes, padding,
                          recompute=self.activation_checkpoint)
        return x


def run_layer(layer: nn.Module, *arguments, recompute: bool):
    """Call ``layer``; with ``recompute`` its activations are not kept for the backward pass."""
    if recompute and torch.is_grad_enabled():
        return checkpoint(layer, *arguments, use_reentrant=False)
    return layer(*arguments)


def token_centres(level_shapes: LevelShapes, like: Tensor) -> list[Float[Tensor, '_ 2']]:
    """Return per level the (x, y) centres of its tokens in pixels, row by row."""
    centres = []
    for height, width in level_shapes:
        y = torch.arange(height, dtype=torch.float32, device=like.device) + 0.5
        x = torch.arange(width, dtype=torch.float32, device=like.device) + 0.5
        rows, columns = torch.meshgrid(y, x, indexing='ij')
        centres.append(torch.stack((columns.flatten(), rows.flatten()), dim=-1))
    return centres


def encoder_reference_points(level_shapes: LevelShapes,
                             valid_ratios: Float[Tensor, 'B L 2']) -> Float[Tensor, 'B S L 2']:
    """Return for every token its own place in all levels, in units of the padded level."""
    points = []
    for level, ((height, width), centres) in enumerate(zip(level_shapes, token_centres(level_shapes, valid_ratios))):
        ratio = valid_ratios[:, None, level]
        points.append(torch.stack((centres[:, 0] / (ratio[..., 0] * width), centres[:, 1] / (ratio[..., 1] * height)),
                                  dim=-1))
    return torch.cat(points, dim=1)[:, :, None] * valid_ratios[:, None]


def valid_ratios(padding: list[Bool[Tensor, 'B _ _']]) -> Float[Tensor, 'B L 2']:
    """Return the part (x, y) of each level that is image: from the first row and column of its padding mask."""
    return torch.stack([torch.stack(((~mask[:, 0]).float().mean(-1), (~mask[:, :, 0]).float().mean(-1)), dim=-1)
                        for mask in padding], dim=1)
