"""Deformable attention as two Triton kernels, for CUDA and ROCm; on the CPU where ``TRITON_INTERPRET=1`` is set.

A program takes a tile of queries of one head of one image. Its channels lie side by side in memory and in a warp, so
that every corner of a sample is one wide load, and locations are computed once per query of the tile. Sums are kept in
float32 (float64 for float64) whatever the inputs are. The gradient of the value is added atomically in float32: its
last bits depend on the order in which programs run.

The gathers through L1 and L2 are the limit, not the memory: for the encoder of Deformable DETR, four corners of D
channels for each sample are eighteen times the bytes that must cross the memory once. Hence half types are loaded as
they are and widened in registers, and nothing but the inputs is kept for the backward pass.
"""
from collections.abc import Sequence
from functools import lru_cache
from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

#: numbers of a tile (queries x channels): eight a thread with four warps
TILE = 1024


@triton.jit
@no_type_check
def _corner(base, row, column, height, width, stride, channel, real, ACC: tl.constexpr):
    """Values (queries, channels) of one pixel a query, zero outside; where they are and which exist."""
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    place = (row * width + column)[:, None] * stride + channel[None, :]
    exists = inside[:, None] & real[None, :]
    return tl.load(base + place, mask=exists, other=0).to(ACC), place, exists


@triton.jit
@no_type_check
def _sample(locations, weights, index, seen, height, width, ACC: tl.constexpr):
    """Row and column of the upper left corner, the way from it (0 to 1), and the weight of one sample a query."""
    x = tl.load(locations + 2 * index, mask=seen, other=0).to(ACC) * width - 0.5
    y = tl.load(locations + 2 * index + 1, mask=seen, other=0).to(ACC) * height - 0.5
    left, top = tl.floor(x), tl.floor(y)
    weight = tl.load(weights + index, mask=seen, other=0).to(ACC)
    return top.to(tl.int32), left.to(tl.int32), (y - top)[:, None], (x - left)[:, None], weight[:, None]


@triton.jit
@no_type_check
def _tile(queries, HEADS: tl.constexpr, BLOCK_Q: tl.constexpr):
    """Image, head and queries of this program; neighbouring programs share queries, whose inputs lie together."""
    program, tiles = tl.program_id(0), tl.cdiv(queries, BLOCK_Q)
    query = program // HEADS % tiles * BLOCK_Q + tl.arange(0, BLOCK_Q)
    return (program // HEADS // tiles).to(tl.int64), program % HEADS, query


@triton.jit
@no_type_check
def _forward_kernel(value, sizes, locations, weights, found, queries, tokens, HEADS: tl.constexpr,
                    LEVELS: tl.constexpr, POINTS: tl.constexpr, CHANNELS: tl.constexpr, BLOCK_Q: tl.constexpr,
                    BLOCK_D: tl.constexpr, ACC: tl.constexpr):
    image, head, query = _tile(queries, HEADS, BLOCK_Q)
    channel, stride = tl.arange(0, BLOCK_D), HEADS * CHANNELS
    seen, real = query < queries, channel < CHANNELS
    place = (image * queries + query) * HEADS + head
    origin = value + (image * tokens * HEADS + head) * CHANNELS
    total = tl.zeros([BLOCK_Q, BLOCK_D], ACC)
    for level in range(LEVELS):
        height, width = tl.load(sizes + 3 * level), tl.load(sizes + 3 * level + 1)
        base = origin + tl.load(sizes + 3 * level + 2) * stride
        for point in range(POINTS):
            index = (place * LEVELS + level) * POINTS + point
            row, column, dy, dx, weight = _sample(locations, weights, index, seen, height, width, ACC)
            a, _, _ = _corner(base, row, column, height, width, stride, channel, real, ACC)
            b, _, _ = _corner(base, row, column + 1, height, width, stride, channel, real, ACC)
            c, _, _ = _corner(base, row + 1, column, height, width, stride, channel, real, ACC)
            d, _, _ = _corner(base, row + 1, column + 1, height, width, stride, channel, real, ACC)
            total += weight * ((1 - dy) * ((1 - dx) * a + dx * b) + dy * ((1 - dx) * c + dx * d))
    target = found + place[:, None] * CHANNELS + channel[None, :]
    tl.store(target, total.to(found.dtype.element_ty), mask=seen[:, None] & real[None, :])


@triton.jit
@no_type_check
def _backward_kernel(value, sizes, locations, weights, gradient, of_value, of_locations, of_weights, queries, tokens,
                     HEADS: tl.constexpr, LEVELS: tl.constexpr, POINTS: tl.constexpr, CHANNELS: tl.constexpr,
                     BLOCK_Q: tl.constexpr, BLOCK_D: tl.constexpr, ACC: tl.constexpr):
    image, head, query = _tile(queries, HEADS, BLOCK_Q)
    channel, stride = tl.arange(0, BLOCK_D), HEADS * CHANNELS
    seen, real = query < queries, channel < CHANNELS
    place = (image * queries + query) * HEADS + head
    origin = (image * tokens * HEADS + head) * CHANNELS
    kept = seen[:, None] & real[None, :]
    grad = tl.load(gradient + place[:, None] * CHANNELS + channel[None, :], mask=kept, other=0).to(ACC)
    for level in range(LEVELS):
        height, width = tl.load(sizes + 3 * level), tl.load(sizes + 3 * level + 1)
        start = origin + tl.load(sizes + 3 * level + 2) * stride
        base, target = value + start, of_value + start
        for point in range(POINTS):
            index = (place * LEVELS + level) * POINTS + point
            row, column, dy, dx, weight = _sample(locations, weights, index, seen, height, width, ACC)
            a, at_a, has_a = _corner(base, row, column, height, width, stride, channel, real, ACC)
            b, at_b, has_b = _corner(base, row, column + 1, height, width, stride, channel, real, ACC)
            c, at_c, has_c = _corner(base, row + 1, column, height, width, stride, channel, real, ACC)
            d, at_d, has_d = _corner(base, row + 1, column + 1, height, width, stride, channel, real, ACC)
            upper, lower = (1 - dx) * a + dx * b, (1 - dx) * c + dx * d
            of_weight = tl.sum(grad * ((1 - dy) * upper + dy * lower), 1)
            scaled = grad * weight
            of_x = tl.sum(scaled * ((1 - dy) * (b - a) + dy * (d - c)), 1) * width
            of_y = tl.sum(scaled * (lower - upper), 1) * height
            tl.store(of_weights + index, of_weight, mask=seen)
            tl.store(of_locations + 2 * index, of_x, mask=seen)
            tl.store(of_locations + 2 * index + 1, of_y, mask=seen)
            tl.atomic_add(target + at_a, (1 - dy) * (1 - dx) * scaled, mask=has_a & seen[:, None], sem='relaxed')
            tl.atomic_add(target + at_b, (1 - dy) * dx * scaled, mask=has_b & seen[:, None], sem='relaxed')
            tl.atomic_add(target + at_c, dy * (1 - dx) * scaled, mask=has_c & seen[:, None], sem='relaxed')
            tl.atomic_add(target + at_d, dy * dx * scaled, mask=has_d & seen[:, None], sem='relaxed')


def forward(value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    """The sum over samples, (B, Q, H * D); ``sizes`` are height and width of level after level."""
    batch, queries, heads = locations.shape[:3]
    found = value.new_empty(batch, queries, heads * value.shape[3])
    if found.numel():
        _launch(_forward_kernel, value, sizes, locations, weights, found)
    return found


def backward(gradient: Tensor, value: Tensor, sizes: Sequence[int], locations: Tensor,
             weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of value, locations and weights from that of the result, each in its tensor's dtype."""
    exact = _exact(value)
    of_value = torch.zeros(value.shape, dtype=exact, device=value.device)
    of_locations, of_weights = (torch.zeros(like.shape, dtype=exact, device=value.device)
                                for like in (locations, weights))
    if gradient.numel():
        _launch(_backward_kernel, value, sizes, locations, weights, gradient.contiguous(), of_value, of_locations,
                of_weights)
    return of_value.to(value.dtype), of_locations.to(locations.dtype), of_weights.to(weights.dtype)


def _exact(value: Tensor) -> torch.dtype:
    return torch.promote_types(value.dtype, torch.float32)


def _launch(kernel, value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor, *others: Tensor) -> None:
    batch, queries, heads, levels, points, _ = locations.shape
    channels = value.shape[3]
    wide = triton.next_power_of_2(channels)
    tall = max(TILE // wide, 1)
    accumulator = tl.float64 if _exact(value) == torch.float64 else tl.float32
    with torch.cuda.device_of(value):  # of several GPUs, Triton uses the current one
        kernel[(triton.cdiv(queries, tall) * heads * batch,)](
            value.contiguous(), _table(tuple(sizes), value.device), locations.contiguous(), weights.contiguous(),
            *others, queries, value.shape[1], HEADS=heads, LEVELS=levels, POINTS=points, CHANNELS=channels,
            BLOCK_Q=tall, BLOCK_D=wide, ACC=accumulator, num_warps=4)


@lru_cache(maxsize=256)
def _table(sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """(L, 3) int32 height, width and first token of each level, copied to the device once per set of sizes."""
    rows, start = [], 0
    for height, width in zip(sizes[::2], sizes[1::2]):
        rows.append((height, width, start))
        start += height * width
    return torch.tensor(rows, dtype=torch.int32, device=device)
