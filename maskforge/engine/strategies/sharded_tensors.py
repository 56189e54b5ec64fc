"""Between tensors that are dealt out to the processes (DTensor) and whole ones."""
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

#: attribute by which a module is known to take whole tensors
_PREPARED = '_takes_whole_tensors'


def is_sharded(value: Any) -> bool:
    """Whether it is a tensor of which this process holds a part."""
    return isinstance(value, Tensor) and hasattr(value, 'to_local')


def whole(value: Any, *, keep: bool = True) -> Any:
    """Return ``value`` with whole tensors in place of sharded ones, in the host's memory.

    All processes of the mesh must call this on the same structure.

    Args:
        value: tensors in dicts, lists and tuples.
        keep: False for processes that take part only: they get None for each tensor that was sharded.
    """
    if is_sharded(value):
        # what is offloaded to the host cannot be sent from there by NCCL
        gathered = value.detach().to(value.device_mesh.device_type).full_tensor()
        return gathered.cpu() if keep else None
    if isinstance(value, Mapping):
        return {key: whole(item, keep=keep) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(whole(item, keep=keep) for item in value)
    return value


def own_piece(value: Any) -> tuple[Tensor, int] | None:
    """This process's piece of a sharded tensor and the dimension that is divided; None for anything else."""
    if not is_sharded(value):
        return None
    (placement,) = value.placements
    # a copy: a view would be written with all of its storage
    return value.detach().to_local().clone(), placement.dim


@torch.no_grad()
def sharded_like(value: Tensor, like: Tensor) -> Tensor:
    """Return this process's part of a whole tensor, sharded and placed as ``like``; sends nothing."""
    if is_sharded(value):
        return value
    result = torch.empty_like(like.detach(), dtype=value.dtype)
    mesh, (placement,) = like.device_mesh, like.placements
    parts = value.chunk(mesh.size(), placement.dim)
    rank = mesh.get_local_rank()
    if rank < len(parts):  # a short tensor leaves nothing for the last processes
        result.to_local().copy_(parts[rank])
    return result


def accept_whole_tensors(model: nn.Module) -> None:
    """Let ``load_state_dict`` of a sharded model take whole tensors too."""
    for module in model.modules():
        if module._parameters and not hasattr(module, _PREPARED):
            module.register_load_state_dict_pre_hook(_take_own_parts)
            setattr(module, _PREPARED, True)


def _take_own_parts(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    for name, parameter in module._parameters.items():
        given = state_dict.get(prefix + name)
        if is_sharded(parameter) and isinstance(given, Tensor) and given.shape == parameter.shape:
            state_dict[prefix + name] = sharded_like(given, parameter)


def accept_whole_state(optimizer: Optimizer) -> None:
    """Let ``load_state_dict`` of an optimizer over sharded parameters take a whole optimizer's state too."""
    optimizer.register_load_state_dict_pre_hook(_with_own_parts)


def _with_own_parts(optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    parameters = [parameter for group in optimizer.param_groups for parameter in group['params']]
    state = {index: {key: sharded_like(value, parameters[index]) if _fits(value, parameters[index]) else value
                     for key, value in entry.items()}
             for index, entry in state_dict['state'].items()}
    return dict(state_dict, state=state)


def _fits(value: Any, parameter: Tensor) -> bool:
    return is_sharded(parameter) and isinstance(value, Tensor) and value.dim() > 0 and value.shape == parameter.shape
