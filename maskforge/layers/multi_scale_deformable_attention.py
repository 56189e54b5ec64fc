"""Deformable attention over several feature levels as a layer (Zhu et al., ICLR 2021, section 4.1)."""
import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from maskforge.layers.linear import Linear
from maskforge.ops.deformable_attention import LevelShapes, multi_scale_deformable_attention
from maskforge.ops.exporting import is_exporting


class MultiScaleDeformableAttention(nn.Module):
    """Every query looks at ``num_points`` places of every level, found by itself around its reference point.

    Legend: B images, Q queries, S tokens of all levels, L levels, C channels.

    Args:
        embed_dims: C.
        num_heads, num_levels, num_points: H, L and P; C is divisible by H.
        mask_value: tokens of the padding contribute nothing. False reproduces TAO's networks, whose queries also see
            what the value projection makes of the padding.

    Raises:
        ValueError: C is not divisible by H.
    """

    def __init__(self, embed_dims: int = 256, num_heads: int = 8, num_levels: int = 4, num_points: int = 4, *,
                 mask_value: bool = True) -> None:
        super().__init__()
        if embed_dims % num_heads:
            raise ValueError(f'{embed_dims} channels cannot be divided among {num_heads} attention heads.')
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        self.mask_value = mask_value
        samples = num_heads * num_levels * num_points
        self.sampling_offsets = Linear(embed_dims, samples * 2)
        self.attention_weights = Linear(embed_dims, samples)
        self.value_proj = Linear(embed_dims, embed_dims)
        self.output_proj = Linear(embed_dims, embed_dims)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with head h looking along the direction 2 pi h / H, point p at p + 1 pixels, all equally weighted."""
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        angle = torch.arange(self.num_heads, dtype=torch.float32) * (2 * math.pi / self.num_heads)
        direction = torch.stack((angle.cos(), angle.sin()), dim=-1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.num_points + 1, dtype=torch.float32)
        grid = (direction[:, None, None] * steps[:, None]).expand(-1, self.num_levels, -1, -1)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(grid.reshape(-1))
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(self, query: Float[Tensor, 'B Q C'], *, value: Float[Tensor, 'B S C'],
                reference_points: Float[Tensor, 'B Q L R'], level_shapes: LevelShapes,
                padding: Bool[Tensor, 'B S'] | None = None) -> Float[Tensor, 'B Q C']:
        """Attend.

        Args:
            query: with its position code added.
            value: tokens of all levels.
            reference_points: per level (x, y), R = 2, or (cx, cy, w, h), R = 4, in units of the padded level; offsets
                of points are pixels, offsets of boxes are parts of half a box divided by ``num_points``.
            level_shapes: (height, width) of the levels.
            padding: True for tokens of the padding; None if there is none.
        """
        projected = self.value_proj(value)
        if padding is not None and self.mask_value:
            projected = projected.masked_fill(padding[..., None], 0)
        split = (self.num_heads, self.num_levels, self.num_points)
        # reshape rather than unflatten, which opset 12 has not
        offsets = self.sampling_offsets(query).float().reshape(*query.shape[:2], *split, 2)
        weights = softmax_of_few(self.attention_weights(query).reshape(*query.shape[:2], self.num_heads, -1))
        attended = multi_scale_deformable_attention(
            projected.reshape(*value.shape[:2], self.num_heads, -1), level_shapes,
            self._locations(reference_points.float(), offsets, level_shapes),
            weights.reshape(*query.shape[:2], *split))
        return self.output_proj(attended)

    def _locations(self, reference: Tensor, offsets: Tensor, level_shapes: LevelShapes) -> Tensor:
        centre = self._for_points(reference[..., :2])
        if reference.shape[-1] == 4:
            unit = self._for_points(reference[..., 2:]) * (0.5 / self.num_points)
        else:
            unit = self._for_points(1 / size_tensor(level_shapes, offsets)[None, None])
        return torch.addcmul(centre, offsets.flatten(3), unit).reshape(offsets.shape)

    def _for_points(self, of_levels: Float[Tensor, 'B Q L 2']) -> Float[Tensor, 'B Q 1 _']:
        """Repeated for every point: arithmetic on long rows is many times as fast as on pairs."""
        return of_levels[:, :, None, :, None].expand(-1, -1, -1, -1, self.num_points, -1).flatten(3)


def softmax_of_few(logits: Float[Tensor, '*B N']) -> Float[Tensor, '*B N']:
    """Return the softmax over the last axis; torch's own takes three to five times as long for short rows on a CPU."""
    if logits.device.type != 'cpu' or logits.dtype != torch.float32 or is_exporting():
        return logits.softmax(-1)
    powers = (logits - logits.detach().amax(-1, keepdim=True)).exp()
    return powers / powers.sum(-1, keepdim=True)


def size_tensor(level_shapes: LevelShapes, like: Tensor) -> Float[Tensor, 'L 2']:
    """Return (width, height) of every level; sizes that a tracer follows stay symbols."""
    return torch.stack([torch.stack([like.new_full((), side) for side in (width, height)])
                        for height, width in level_shapes])
