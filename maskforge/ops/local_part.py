"""Tensors that are dealt out to several processes."""
from torch import Tensor


def local_part(tensor: Tensor) -> Tensor:
    """Return this process's part of a sharded tensor (DTensor), or the tensor itself; no gradient goes through it."""
    return tensor.to_local() if hasattr(tensor, 'to_local') else tensor.detach()
