"""A device that is none: tensors say that they are on ``emulated:0``, the CPU computes, and every wait is noted.

A GPU works through a queue. What needs its results on the host (``item``, ``tolist``, ``cpu``, a boolean index,
``nonzero``) and a blocking copy from the host wait until the queue is empty. Here such calls are written down with the
line of ours that made them, and a computation on tensors of the host and of the device together is the error that it
would be on a GPU.

``python emulated_device.py FOLDER FAMILY [...]`` trains tiny models for some iterations and prints one line of JSON for
each: what waited in one iteration without logs or checkpoints. It predicts with them, too. The device stays registered:
it wants a process of its own.
"""
import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

DEVICE = torch.device('privateuseone:0')  # its name is another later
#: their results' sizes or values are needed on the host
READING = {'_local_scalar_dense', 'nonzero', 'equal', 'masked_select', '_unique2', 'unique_dim', 'unique_consecutive',
           'bincount', 'nms', 'is_nonzero'}
INDEXING = {'index', 'index_put', 'index_put_', '_index_put_impl_'}
ITERATIONS, WATCHED = 5, 2

#: (kind, place) of every wait so far
waits: list[tuple[str, str]] = []


class Backend(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]


class DeviceTensor(Tensor):
    """Has its values in ``value``, on the CPU."""

    @staticmethod
    def __new__(cls, value: Tensor) -> 'DeviceTensor':
        return Tensor._make_wrapper_subclass(
            cls, value.size(), strides=value.stride(), storage_offset=value.storage_offset(), dtype=value.dtype,
            device=DEVICE, requires_grad=value.requires_grad)

    def __init__(self, value: Tensor) -> None:
        self.value = value

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return compute(func, args, kwargs or {})


class Dispatch(TorchDispatchMode):
    """Sees the functions that make tensors from none."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return compute(func, args, kwargs or {})


class Functions(TorchFunctionMode):
    """Sees what PyTorch does in one piece: tensors of Python's numbers, and lists as indices."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is Tensor.new_tensor:
            kwargs = dict(device=args[0].device, dtype=args[0].dtype) | kwargs
            func, args = torch.tensor, args[1:]
        if func in (torch.tensor, torch.as_tensor) and on_device(kwargs.get('device')):
            device = kwargs.pop('device')
            return func(*args, **kwargs).to(device)
        if func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[0], DeviceTensor):
            args = (args[0], _indices(args[1]), *args[2:])
        return func(*args, **kwargs)


def on_device(device: Any) -> bool:
    return device is not None and torch.device(device).type == DEVICE.type


def _indices(index: Any) -> Any:
    if isinstance(index, list):
        return torch.tensor(index).to(DEVICE)
    return tuple(map(_indices, index)) if isinstance(index, tuple) else index


def compute(func, args: tuple, kwargs: dict) -> Any:
    """Do on the CPU what is asked of the device."""
    name = func._schema.name.split('::')[1]
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    involved = any(isinstance(one, DeviceTensor) for one in tensors)
    target = kwargs.get('device')
    if involved:
        _note_use(name, func, args, kwargs, tensors)
    elif name == '_to_copy' and on_device(target) and not kwargs.get('non_blocking'):
        _note('write', name)
    plain_args, plain_kwargs = tree_map(_value, (args, kwargs))
    if on_device(target):
        plain_kwargs['device'] = torch.device('cpu')
    result = func(*plain_args, **plain_kwargs)
    filled = name == 'copy_' and not isinstance(args[0], DeviceTensor)
    if filled or (target is not None and not on_device(target)) or not (involved or on_device(target)):
        return args[0] if name == 'copy_' else result
    result = tree_map(lambda one: DeviceTensor(one) if isinstance(one, Tensor) else one, result)
    return return_and_correct_aliasing(func, args, kwargs, result) if involved else result


def _value(leaf: Any) -> Any:
    return leaf.value if isinstance(leaf, DeviceTensor) else leaf


def _note_use(name: str, func, args: tuple, kwargs: dict, tensors: list[Tensor]) -> None:
    # a tensor of no axis is a number, which goes with the call
    from_host = any(not isinstance(one, DeviceTensor) and one.dim() for one in tensors)
    if name == 'copy_':
        if from_host and not (kwargs.get('non_blocking') or (len(args) > 2 and args[2])):
            _note('write' if isinstance(args[0], DeviceTensor) else 'read', name)
    elif from_host and name not in INDEXING:
        raise RuntimeError(f'{func} of tensors on the host and on the device')
    elif from_host:
        _note('write', name)
    if _reads(name, args, kwargs):
        _note('read', name)


def _reads(name: str, args: tuple, kwargs: dict) -> bool:
    """Whether the host needs what the device has computed."""
    if name == '_to_copy':
        return kwargs.get('device') is not None and not on_device(kwargs['device'])
    if name == 'repeat_interleave':
        return kwargs.get('output_size') is None
    if name in INDEXING:
        return any(isinstance(one, Tensor) and one.dtype in (torch.bool, torch.uint8) for one in args[1])
    return name in READING


def _note(kind: str, name: str) -> None:
    ours = [frame for frame in traceback.extract_stack() if '/maskforge/' in frame.filename]
    place = f'{ours[-1].filename.split("/maskforge/")[-1]}:{ours[-1].lineno}' if ours else 'backward'
    waits.append((kind, f'{place} {name}'))


@contextmanager
def emulation() -> Iterator[None]:
    """Register the device, give it to the Runner, and note every wait."""
    _setup_privateuseone_for_python_backend('emulated', backend_module=Backend())
    with ExitStack() as stack:
        runner_device = mock.patch('maskforge.engine.model_preparation.get_device', lambda: DEVICE.type)
        for context in (Dispatch(), Functions(), runner_device):
            stack.enter_context(context)
        yield


def watched_iteration(config: dict) -> list[tuple[str, str]]:
    """Train; return the waits of one iteration that neither logs nor saves."""
    from mmengine.hooks import Hook

    from maskforge.engine import Runner
    starts: list[int] = []

    class Starts(Hook):
        priority = 'VERY_HIGH'

        def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
            starts.append(len(waits))

    runner = Runner.from_cfg(config)
    runner.register_hook(Starts())
    runner.train()
    return waits[starts[WATCHED]:starts[WATCHED + 1]]


def main() -> None:
    from mmengine.registry import init_default_scope
    from strategy_runs import drawn_shapes, family_config
    init_default_scope('maskforge')
    torch.set_num_threads(1)
    folder, *families = sys.argv[1:]
    drawn = drawn_shapes(Path(folder))
    with emulation():
        for family in families:
            config = family_config(family, drawn, Path(folder) / family, iterations=ITERATIONS)
            print(json.dumps({family: watched_iteration(config)}), flush=True)


if __name__ == '__main__':
    main()
