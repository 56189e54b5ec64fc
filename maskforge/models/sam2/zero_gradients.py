"""Gradients for parameters that a step does not use."""
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def with_zero_gradients(losses: dict[str, Tensor], parameters: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return the losses, the first of which gives every parameter (or other tensor) a gradient of zero besides its own.

    Every process then has a gradient for every parameter on every step, which is what DistributedDataParallel without
    ``find_unused_parameters`` waits for.
    """
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    name = next(name for name in losses if name.startswith('loss'))
    return {**losses, name: _ZeroGradients.apply(losses[name], *parameters)} if parameters else losses


class _ZeroGradients(torch.autograd.Function):
    """The value; zeros for the parameters, without reading them."""

    @staticmethod
    def forward(ctx, value: Tensor, *parameters: Tensor) -> Tensor:
        ctx.save_for_backward(*parameters)
        return value.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Sequence[Tensor]:
        return gradient, *(torch.zeros_like(parameter) for parameter in ctx.saved_tensors)
