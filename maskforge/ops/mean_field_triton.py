"""All updates of the mean field in one Triton launch, for CUDA and ROCm; on the CPU with ``TRITON_INTERPRET=1``.

A program is one crop. Its pixels go from one of two buffers to the other and back, and between updates the threads of
the program wait for each other: 64 KiB of state and the weights stay in the caches of one multiprocessor, where a
hundred updates by single operations are a thousand launches.
"""
from collections.abc import Sequence
from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

#: pixels that the threads of a program take at a time
BLOCK = 4096


@triton.jit
@no_type_check
def _pixels(base, place, row, column, height, width, down, right, seen):
    """Values (down, right) steps away, zero outside the crop; and which are inside."""
    inside = seen & (row + down >= 0) & (row + down < height) & (column + right >= 0) & (column + right < width)
    return tl.load(base + place + down * width + right, mask=inside, other=0.0), inside


@triton.jit
@no_type_check
def _kernel(states, log_box, weights, crops, height, width, num_iter, low, high, SIDE: tl.constexpr,
            DILATION: tl.constexpr, BLOCK: tl.constexpr):
    crop, size = tl.program_id(0).to(tl.int64), height * width
    for iteration in range(num_iter):
        source = states + (2 * crop + iteration % 2) * size
        target = states + (2 * crop + (iteration + 1) % 2) * size
        for start in range(0, size, BLOCK):
            place = start + tl.arange(0, BLOCK)
            seen, row, column = place < size, place // width, place % width
            total = tl.load(source + place, mask=seen, other=0.0)
            for pair in tl.static_range(SIDE * SIDE // 2):
                step = SIDE * SIDE // 2 + 1 + pair
                down, right = (step // SIDE - SIDE // 2) * DILATION, (step % SIDE - SIDE // 2) * DILATION
                base = weights + (pair * crops + crop) * size
                theirs, inside = _pixels(source, place, row, column, height, width, down, right, seen)
                total += tl.load(base + place, mask=inside, other=0.0) * theirs
                theirs, inside = _pixels(source, place, row, column, height, width, -down, -right, seen)
                total += tl.load(base + place - down * width - right, mask=inside, other=0.0) * theirs
            total += tl.load(log_box + crop * size + place, mask=seen, other=0.0)
            tl.store(target + place, tl.minimum(tl.maximum(total, low), high), mask=seen)
        tl.debug_barrier()


def updated(state: Tensor, log_box: Tensor, weights: Tensor, *, kernel_size: int, dilation: int, num_iter: int,
            bounds: Sequence[float]) -> Tensor:
    """Return the logits (B, H, W) after ``num_iter`` updates.

    Args:
        state, log_box: (B, H, W) float32.
        weights: (P, B, H, W) float32, of a pixel and its partner one of the P steps of half a window away.
        bounds: lowest and highest logit.
    """
    crops, height, width = state.shape
    states = torch.stack((state, state), 1)
    if num_iter and states.numel():
        with torch.cuda.device_of(state):  # of several GPUs, Triton uses the current one
            _kernel[(crops,)](states, log_box.contiguous(), weights.contiguous(), crops, height, width, num_iter,
                              *bounds, SIDE=kernel_size, DILATION=dilation, BLOCK=BLOCK, num_warps=32)
    return states[:, num_iter % 2]
