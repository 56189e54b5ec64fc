"""Whether the installed PyTorch can shard on the CPU."""
from typing import Any

import torch
from torch import nn


def check_cpu_averages(mesh: Any) -> None:
    """Shard a tiny layer and compare its gradient with the mean over the processes.

    gloo of some versions has no reduce-scatter, of others it adds where it should average, in silence
    (pytorch/pytorch#162338). All processes of the mesh must call this.

    Raises:
        ValueError: this version cannot shard on the CPU.
    """
    from torch.distributed.fsdp import fully_shard
    remedy = f"(PyTorch {torch.__version__}): install a newer PyTorch, or use strategy='ddp_sharded'."
    layer = nn.utils.skip_init(nn.Linear, 1, mesh.size(), bias=False)
    nn.init.ones_(layer.weight)
    try:
        fully_shard(layer, mesh=mesh)
        layer(torch.full((1, 1), float(mesh.get_local_rank()))).sum().backward()
        found = layer.weight.grad.full_tensor()
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        raise ValueError(f"strategy='fsdp' does not work on the CPU {remedy} Its answer: {error}") from error
    expected = (mesh.size() - 1) / 2
    if not torch.allclose(found, torch.full_like(found, expected)):
        raise ValueError(f"strategy='fsdp' would not average gradients on the CPU {remedy}")
