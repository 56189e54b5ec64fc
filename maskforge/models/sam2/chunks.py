"""Objects in chunks, so that memory does not grow with their number."""
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def sum_over_chunks(run: Callable[[Tensor, slice], Float[Tensor, ' K']], shared: Tensor, num_objects: int,
                    objects_per_chunk: int | None) -> Float[Tensor, ' K']:
    """Return the sum of ``run(shared, rows)`` over chunks of objects, of which the backward pass holds one at a time.

    A chunk is run without keeping its activations, and again when the backward pass comes to it: the price is one more
    forward pass of what ``run`` does (not of the image encoder). It is one graph to autograd, so one ``backward`` does
    it, with whatever wraps model and optimizer: gradients are those of one chunk, up to the order of sums. Dropout
    draws the same numbers both times, though others than without chunks. What stays of a chunk that is not its turn
    are the nodes of its graph without their tensors: some 10 MiB, whatever the size of the images.

    Args:
        run: sums something over the objects of ``rows``, which must not depend on other objects.
        shared: a tensor on the device of the computation, whose random state is then kept (the image features).
        num_objects: N.
        objects_per_chunk: most objects per chunk; None, or at least N, is a single pass that keeps everything.
    """
    if objects_per_chunk is None or num_objects <= objects_per_chunk:
        return run(shared, slice(0, num_objects))
    chunks = [slice(start, min(start + objects_per_chunk, num_objects))
              for start in range(0, num_objects, objects_per_chunk)]
    if not torch.is_grad_enabled():
        return sum(run(shared, rows) for rows in chunks)
    return sum(checkpoint(run, shared, rows, use_reentrant=False) for rows in chunks)
