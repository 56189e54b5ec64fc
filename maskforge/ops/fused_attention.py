"""The fused kernels of deformable attention as operators of torch: compiled graphs, autocast and autograd know them.

Each is a module of two functions, ``forward`` and ``backward``, that is imported when it is first used.
"""
import functools
import importlib
import importlib.util

import torch

from .kernel_trial import HAS_TRITON, INTERPRETED, works
from .sampled_attention import by_grid_sample

#: implementation -> what it is installed with
PACKAGES = {'numba': 'pip install maskforge[cpu]', 'triton': 'PyTorch for CUDA, or pip install triton'}
INSTALLED = {'numba': importlib.util.find_spec('numba') is not None, 'triton': HAS_TRITON}
#: where the kernels run
DEVICES = {'numba': ('cpu',), 'triton': ('cpu', 'cuda') if INTERPRETED else ('cuda',)}

#: the largest relative difference from grid sampling, of a result or gradient
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}


def _kernels(name: str):
    """The module of an implementation.

    Raises:
        ImportError: it needs a package that is not installed.
    """
    if not INSTALLED[name]:
        raise ImportError(f"implementation='{name}' needs {name}: {PACKAGES[name]}")
    return importlib.import_module(f'.deformable_attention_{name}', __package__)


def _define(name: str):
    """The operator ``maskforge::deformable_attention_<name>`` of (value, sizes, locations, weights)."""
    place = f'maskforge::deformable_attention_{name}'

    def forward(value, sizes, locations, weights):
        return _kernels(name).forward(value, sizes, locations, weights)

    def backward(gradient, value, sizes, locations, weights):
        return _kernels(name).backward(gradient, value, sizes, locations, weights)

    operator = torch.library.custom_op(
        place, forward, mutates_args=(), device_types=DEVICES[name],
        schema='(Tensor value, SymInt[] sizes, Tensor locations, Tensor weights) -> Tensor')
    gradients = torch.library.custom_op(
        f'{place}_backward', backward, mutates_args=(), device_types=DEVICES[name],
        schema='(Tensor gradient, Tensor value, SymInt[] sizes, Tensor locations, Tensor weights) '
               '-> (Tensor, Tensor, Tensor)')
    operator.register_fake(lambda value, sizes, locations, weights: value.new_empty(
        locations.shape[0], locations.shape[1], value.shape[2] * value.shape[3]))
    gradients.register_fake(lambda gradient, value, sizes, locations, weights: tuple(
        like.new_empty(like.shape) for like in (value, locations, weights)))

    def keep(ctx, inputs, output):
        value, ctx.sizes, locations, weights = inputs
        ctx.save_for_backward(value, locations, weights)

    def differentiate(ctx, gradient):
        value, locations, weights = ctx.saved_tensors
        of_value, of_locations, of_weights = gradients(gradient, value, ctx.sizes, locations, weights)
        return of_value, None, of_locations, of_weights
    operator.register_autograd(differentiate, setup_context=keep)
    return operator


OPERATORS = {name: _define(name) for name in PACKAGES}


@torch.compiler.assume_constant_result
def kernels_work(name: str, device: str, dtype: torch.dtype, channels: int) -> bool:
    """Whether the kernels compile and equal grid sampling here; tried once for each kind of input, by a tiny example.

    Where they do not, one warning says why.

    Args:
        device: type of the device.
        channels: of a head.
    """
    return _try_kernels(name, device, dtype, channels)


@functools.cache
def _try_kernels(name: str, device: str, dtype: torch.dtype, channels: int) -> bool:
    return works(_difference, device, name, dtype, channels, otherwise=(
        f'deformable attention falls back to slower grid sampling: the {name} kernels for {dtype} and {channels} '
        f'channels a head fail on this {device} device'))


def _difference(device: str, name: str, dtype: torch.dtype, channels: int) -> str:
    """What differs from grid sampling, in the result or a gradient of an example; empty if nothing does."""
    shapes, exact = ((2, 3), (1, 2)), torch.promote_types(dtype, torch.float32)
    # waves, to leave the random generators alone; some samples lie outside
    value = torch.arange(8 * 2 * channels, device=device, dtype=exact).sin().view(1, 8, 2, channels).to(dtype)
    locations = torch.arange(48, device=device, dtype=exact).cos().view(1, 3, 2, 2, 2, 2) * 0.7 + 0.5
    weights = torch.arange(24, device=device, dtype=exact).cos().view(1, 3, 2, 2, 2).to(dtype)
    inputs = [tensor.requires_grad_() for tensor in (value, locations, weights)]
    wanted = by_grid_sample(value, shapes, locations, weights)
    gradient = wanted.detach() + 1
    wanted = [wanted, *torch.autograd.grad(wanted, inputs, gradient)]
    sizes, kernels = [side for shape in shapes for side in shape], _kernels(name)
    value, locations, weights = (tensor.detach() for tensor in inputs)
    found = [kernels.forward(value, sizes, locations, weights),
             *kernels.backward(gradient, value, sizes, locations, weights)]
    errors = [(one - other).abs().max() / other.abs().max() for one, other in zip(found, wanted)]
    worst = torch.stack([error.to(exact) for error in errors]).max().item()
    # not (worst < ...) rather than (worst > ...): it may be NaN
    return f'differs by {worst:.2g}' if not worst < TOLERANCES[dtype] else ''
