"""Parameters that no process has used in a step."""
from collections.abc import Iterable

import torch
import torch.distributed as torch_dist
from torch import Tensor

from maskforge.engine.strategies.sharded_tensors import is_sharded


@torch.no_grad()
def drop_zero_gradients(parameters: Iterable[Tensor]) -> None:
    """Set gradients that are zero in every entry to None: momentum and weight decay then leave the parameter alone.

    For models that give zeros to what a step does not use, because the other processes wait for a gradient. Call it
    when the gradients are averaged; all processes come to the same result. Waits for the device once.
    """
    parameters = [parameter for parameter in parameters if parameter.grad is not None]
    if not parameters:
        return
    gradients = [parameter.grad.to_local() if is_sharded(parameter.grad) else parameter.grad
                 for parameter in parameters]
    # a process may hold nothing of a short tensor
    largest = torch.stack([gradient.abs().max() if gradient.numel() else gradient.new_zeros(())
                           for gradient in gradients])
    if any(is_sharded(parameter.grad) for parameter in parameters):
        largest = largest.to(next(p.grad.device_mesh.device_type for p in parameters if is_sharded(p.grad)))
        torch_dist.all_reduce(largest, torch_dist.ReduceOp.MAX)
    for parameter, value in zip(parameters, largest.tolist()):
        if value == 0:
            parameter.grad = None
