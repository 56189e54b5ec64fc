"""Activation checkpointing that leaves the statistics of batch norms alone."""
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recompute(module: nn.Module, x: Tensor, *, run: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Run ``module`` and compute its activations again in the backward pass instead of keeping them.

    The second run sees the same batch; without care, the running statistics would take it in twice.

    Args:
        module: its batch norms are kept still in the second run.
        run: what is called in its place, by default the module itself.
    """
    return checkpoint(run or module, x, use_reentrant=False, context_fn=lambda: (nullcontext(), _still(module)))


@contextmanager
def _still(module: nn.Module) -> Iterator[None]:
    """Batch norms normalise by the batch, and their running statistics stay as they are."""
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm) and norm.training
             and norm.track_running_stats]
    kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        # the call must save the same tensors as the first one did, so it is the update that gets no weight
        norm.momentum, norm.num_batches_tracked = 0., None
    try:
        yield
    finally:
        for norm, momentum, batches in kept:
            norm.momentum, norm.num_batches_tracked = momentum, batches
