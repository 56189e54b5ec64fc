"""Deformable attention in plain PyTorch: bilinear samples by ``grid_sample`` or by gathers, summed level by level.

Both work on every device and export. Legend as in :mod:`.deformable_attention`; N stands for B * H.
"""
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

LevelShapes = Sequence[Sequence[int]]


def _sample_by_levels(sampler: Callable, value: Tensor, level_shapes: LevelShapes, locations: Tensor,
                      weights: Tensor) -> Tensor:
    """Sum level by level: the (B * H, D, L * P, Q) tensor of all samples is never held at once."""
    batch, _, heads, channels = value.shape
    queries = locations.shape[1]
    compute = torch.promote_types(value.dtype, torch.float32)
    maps = value.to(compute).permute(0, 2, 3, 1).flatten(0, 1)
    # queries last: the products with the weights then run over long contiguous rows
    grids = locations.to(compute).permute(0, 2, 3, 4, 1, 5).flatten(0, 1)
    shares = weights.to(compute).permute(0, 2, 3, 4, 1).flatten(0, 1)
    total, start = None, 0
    for level, (height, width) in enumerate(level_shapes):
        image = maps[..., start:start + height * width].reshape(batch * heads, channels, height, width)
        samples = sampler(image, grids[:, level])
        part = (samples * shares[:, None, level]).sum(2)
        total = part if total is None else total + part
        start = start + height * width
    # reshape throughout: ONNX has no unflatten before opset 13, and it fixes traced sizes after
    total = total.reshape(batch, heads, channels, queries).permute(0, 3, 1, 2)
    return total.reshape(batch, queries, heads * channels).to(value.dtype)


def _grid_sample(image: Float[Tensor, 'N D h w'], points: Float[Tensor, 'N P Q 2']) -> Float[Tensor, 'N D P Q']:
    return F.grid_sample(image, 2 * points - 1, mode='bilinear', padding_mode='zeros', align_corners=False)


def bilinear_gather(image: Float[Tensor, 'N D h w'], points: Float[Tensor, 'N P Q 2']) -> Float[Tensor, 'N D P Q']:
    """Sample like ``grid_sample`` by four gathers: ONNX has no GridSample before opset 16."""
    height, width = image.shape[-2:]
    x, y = points[..., 0] * width - 0.5, points[..., 1] * height - 0.5
    left, top = x.floor(), y.floor()
    flat = image.flatten(2)
    total = None
    for down in (0, 1):
        for right in (0, 1):
            column, row = left + right, top + down
            share = (1 - (x - column).abs()) * (1 - (y - row).abs())
            inside = (column >= 0) & (column <= width - 1) & (row >= 0) & (row <= height - 1)
            index = row.clamp(min=0).minimum(_like(row, height - 1)) * width + column.clamp(min=0).minimum(
                _like(column, width - 1))
            corner = flat.gather(2, index.long().flatten(1)[:, None].expand(-1, flat.shape[1], -1))
            part = corner.reshape(*corner.shape[:2], *share.shape[1:]) * (share * inside.to(share.dtype))[:, None]
            total = part if total is None else total + part
    return total


def _like(tensor: Tensor, value: int) -> Tensor:
    """``value`` as a tensor, so that a traced size stays a size in the exported file."""
    return torch.zeros_like(tensor) + value


def by_grid_sample(value: Tensor, level_shapes: LevelShapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Deformable attention, (B, Q, H * D), by PyTorch's own sampling."""
    return _sample_by_levels(_grid_sample, value, level_shapes, locations, weights)


def by_gather(value: Tensor, level_shapes: LevelShapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Deformable attention, (B, Q, H * D), by gathers: for ONNX below opset 16, and deterministic on the GPU."""
    return _sample_by_levels(bilinear_gather, value, level_shapes, locations, weights)
