"""Multi-scale deformable attention (Zhu et al., ICLR 2021, equation 3): a weighted sum of bilinear samples.

Legend: B images, S tokens of all levels, Q queries, H heads, D channels of a head, L levels, P points per level.
"""
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .exporting import is_exporting
from .fused_attention import INSTALLED, OPERATORS, TOLERANCES, kernels_work
from .sampled_attention import LevelShapes, by_gather, by_grid_sample

VARIABLE = 'MASKFORGE_DEFORMABLE_ATTENTION'
FASTEST = {'cuda': 'triton', 'cpu': 'numba'}


def multi_scale_deformable_attention(value: Float[Tensor, 'B S H D'], level_shapes: LevelShapes,
                                     locations: Float[Tensor, 'B Q H L P 2'], weights: Float[Tensor, 'B Q H L P'], *,
                                     implementation: str | None = None) -> Float[Tensor, 'B Q C']:
    """Sample ``value`` at ``locations`` and sum with ``weights`` over levels and points, head by head.

    Args:
        value: the levels' tokens one after another, each level row by row; float16, bfloat16, float32 or float64.
        level_shapes: (height, width) of each level; the products add up to S.
        locations: (x, y) in units of the level's whole extent, padding included: (0, 0) is the outer corner of the
            first pixel, (1, 1) that of the last. Samples are bilinear between pixel centres; outside everything is
            zero. float32 whatever ``value`` is (half precision would move samples by whole pixels).
        weights: usually a softmax over the L x P samples of a head.
        implementation: one of :data:`IMPLEMENTATIONS`; by default the one of :func:`attention_implementation`, or of
            the environment variable ``MASKFORGE_DEFORMABLE_ATTENTION``, or ``'auto'``.

    Returns:
        (B, Q, H * D) in the dtype of ``value``; differentiable in ``value``, ``locations`` and ``weights``.

    Raises:
        ValueError: an unknown implementation; levels whose sizes do not add up to S.
        ImportError: an implementation that is not installed was asked for by name.
    """
    name = _known(implementation or _current.get() or os.environ.get(VARIABLE, 'auto'))
    tokens = sum(height * width for height, width in level_shapes)
    if not torch.jit.is_tracing() and tokens != value.shape[1]:
        raise ValueError(f'level_shapes {[tuple(shape) for shape in level_shapes]} have {tokens} tokens, value has '
                         f'{value.shape[1]}.')
    return IMPLEMENTATIONS[name](value, level_shapes, locations, weights)


@contextmanager
def attention_implementation(name: str) -> Iterator[None]:
    """Use one of :data:`IMPLEMENTATIONS` inside the ``with`` block, for example while exporting.

    Raises:
        ValueError: an unknown name.
    """
    token = _current.set(_known(name))
    try:
        yield
    finally:
        _current.reset(token)


def _known(name: str) -> str:
    if name not in IMPLEMENTATIONS:
        where = f'{VARIABLE}={name}' if name == os.environ.get(VARIABLE) else f'implementation={name!r}'
        raise ValueError(f'{where} is not one of {", ".join(IMPLEMENTATIONS)}.')
    return name


def _automatically(value: Tensor, level_shapes: LevelShapes, locations: Tensor, weights: Tensor) -> Tensor:
    return IMPLEMENTATIONS[_best(value)](value, level_shapes, locations, weights)


def _best(value: Tensor) -> str:
    """The fastest implementation that is exact here, deterministic where that is asked for, and exportable."""
    device, name = value.device.type, FASTEST.get(value.device.type)
    if name is None or is_exporting() or type(value) not in (Tensor, nn.Parameter):
        return 'grid_sample'
    if device == 'cuda' and torch.are_deterministic_algorithms_enabled() and torch.is_grad_enabled():
        return 'gather'  # the backward passes of the others add atomically, in any order
    usable = INSTALLED[name] and value.dtype in TOLERANCES
    return name if usable and kernels_work(name, device, value.dtype, value.shape[3]) else 'grid_sample'


def _fused(name: str) -> Callable:
    def attend(value: Tensor, level_shapes: LevelShapes, locations: Tensor, weights: Tensor) -> Tensor:
        sizes = [side for shape in level_shapes for side in shape]
        return OPERATORS[name](value, sizes, locations, weights)
    return attend


#: name -> function of (value, level_shapes, locations, weights)
IMPLEMENTATIONS: dict[str, Callable] = {
    'auto': _automatically, 'grid_sample': by_grid_sample, 'gather': by_gather, 'numba': _fused('numba'),
    'triton': _fused('triton')}
_current: ContextVar[str | None] = ContextVar('deformable attention', default=None)
