"""What is done to a freshly built model before training: freezing, batch norm for the launcher, wrapping, compiling."""
import difflib
import inspect
import os
from collections.abc import Iterable
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, convert_sync_batchnorm, is_model_wrapper
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from maskforge.registry import MODEL_WRAPPERS

#: modes of torch.compile that record CUDA graphs
CUDA_GRAPH_MODES = ('reduce-overhead', 'max-autotune')


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside its wrappers (for several processes, for test-time augmentation), or the model itself."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def accepts_argument(cls: type, name: str) -> bool:
    """Whether the constructor of ``cls`` has an argument of this name of its own."""
    return name in inspect.signature(cls).parameters


def find_modules(model: nn.Module, names: Iterable[str], key: str) -> list[nn.Module]:
    """Return the submodules with these dotted names.

    Args:
        key: config key that holds the names, for the error.

    Raises:
        ValueError: a name is unknown; the message lists near ones.
    """
    if isinstance(names, str):
        names = [names]
    known = dict(model.named_modules())
    found = []
    for name in names:
        if not name or name not in known:
            near = difflib.get_close_matches(str(name), known, n=3) or [child for child, _ in model.named_children()]
            raise ValueError(f"{key} names '{name}', which is no module of {type(model).__name__}; "
                             f'near ones: {", ".join(near)}')
        found.append(known[name])
    return found


def freeze_modules(model: nn.Module, names: Iterable[str]) -> list[nn.Module]:
    """Take the named modules out of training: no gradients, and evaluation mode (BatchNorm and dropout stand still).

    Returns:
        The modules, for :func:`set_train_mode`.
    """
    modules = find_modules(model, names, 'freeze')
    for module in modules:
        module.requires_grad_(False)
        module.eval()
    if modules and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError('freeze leaves nothing to train: every parameter of the model is frozen.')
    return modules


def set_train_mode(model: nn.Module, frozen: Iterable[nn.Module]) -> None:
    """Switch to training mode, but for the frozen modules."""
    model.train()
    for module in frozen:
        module.eval()


def to_device(model: nn.Module, *, distributed: bool, sync_bn: str | None) -> nn.Module:
    """Move the model to its device and give it the batch norm that fits the number of processes.

    Args:
        sync_bn: 'torch' or 'mmcv' to compute batch statistics over all processes (GPUs only).
    """
    model = model.to(get_device())
    if not distributed:
        return revert_sync_batchnorm(model)
    return _synchronise_batchnorm(model, sync_bn, any(parameter.is_cuda for parameter in model.parameters()))


def wrap_model(model: nn.Module, wrapper_cfg: dict | None, *, distributed: bool, sync_bn: str | None,
               find_unused_parameters: bool) -> nn.Module:
    """Move the model to its device and, with several processes, wrap it for them.

    Args:
        wrapper_cfg: ``model_wrapper_cfg`` of the config.
        sync_bn: 'torch' or 'mmcv' to compute batch statistics over all processes (GPUs only).

    Raises:
        TypeError: the model is wrapped already and ``wrapper_cfg`` is given.
    """
    if is_model_wrapper(model):
        if wrapper_cfg is not None:
            raise TypeError(f'the model is wrapped already: leave out model_wrapper_cfg={wrapper_cfg}')
        return model
    model = to_device(model, distributed=distributed, sync_bn=sync_bn)
    if not distributed:
        return model
    on_gpu = any(parameter.is_cuda for parameter in model.parameters())
    cfg = dict(type='MMDistributedDataParallel', find_unused_parameters=find_unused_parameters)
    cfg.update(wrapper_cfg or {})
    cls = MODEL_WRAPPERS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    defaults: dict[str, Any] = dict(module=model)
    if isinstance(cls, type) and issubclass(cls, DistributedDataParallel):
        if on_gpu:
            defaults['device_ids'] = [int(os.environ.get('LOCAL_RANK', torch.cuda.current_device()))]
    else:
        cfg = dict(wrapper_cfg)
    return MODEL_WRAPPERS.build(cfg, default_args=defaults)


def _synchronise_batchnorm(model: nn.Module, sync_bn: str | None, on_gpu: bool) -> nn.Module:
    if sync_bn is None:
        return model if on_gpu else revert_sync_batchnorm(model)
    if not on_gpu:
        print_log(f"sync_bn='{sync_bn}' is not followed: PyTorch synchronises BatchNorm on GPUs only", 'current', 30)
        return revert_sync_batchnorm(model)
    if sync_bn == 'torch':
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if sync_bn == 'mmcv':
        return convert_sync_batchnorm(model, 'mmcv')
    raise ValueError(f"sync_bn='{sync_bn}' is unknown; use 'torch' or 'mmcv'.")


class _AnyBatchNorm(_BatchNorm):
    """BatchNorm for input of any number of dimensions, as SyncBatchNorm is."""

    def _check_input_dim(self, input: torch.Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f'batch norm needs at least 2 dimensions, got {input.dim()}')


def revert_sync_batchnorm(module: nn.Module) -> nn.Module:
    """Replace SyncBatchNorm (PyTorch's and mmcv's, by name) with BatchNorm, for one process or the CPU.

    MMEngine's function of this name uses ``pkgutil.find_loader``, which Python 3.14 no longer has.
    """
    if type(module).__name__ == 'SyncBatchNorm' and isinstance(module, _BatchNorm):
        plain = _AnyBatchNorm(module.num_features, module.eps, module.momentum, module.affine,
                              module.track_running_stats)
        plain.load_state_dict(module.state_dict())
        plain.train(module.training)
        for own, theirs in zip(plain.parameters(), module.parameters()):
            own.requires_grad_(theirs.requires_grad)
        return plain.to(next(iter(module.state_dict().values())).device) if module.state_dict() else plain
    for name, child in module.named_children():
        replacement = revert_sync_batchnorm(child)
        if replacement is not child:
            setattr(module, name, replacement)
    return module


def _begin_step(*_: Any) -> None:
    # CUDA graphs write over their results when the next step begins. Without being told they take each of several
    # compiled modules for a step
    torch.compiler.cudagraph_mark_step_begin()


def compile_modules(model: nn.Module, compile_cfg: dict | bool | None) -> list[str]:
    """Compile submodules in place with ``torch.compile``; names in the state dict stay as they are.

    Args:
        compile_cfg: True, or ``dict(modules=['backbone', 'neck'], **options of torch.compile)``; a list of modules
            (``'encoder.layers'``) means its members. Without ``modules``: what the model names as ``compiled_parts``,
            or backbone and neck: parts that have no control flow that depends on data.

    Returns:
        Names of the compiled modules.

    Raises:
        ValueError: names that are no modules; none are given, and the model has no such parts.
    """
    if not compile_cfg:
        return []
    options = {} if compile_cfg is True else dict(compile_cfg)
    names = options.pop('modules', None)
    if names is None:
        known = dict(model.named_modules())
        names = [name for name in getattr(model, 'compiled_parts', ('backbone', 'neck')) if name in known]
        if not names:
            raise ValueError(f"compile: {type(model).__name__} has neither backbone nor neck; name the modules: "
                             f"compile=dict(modules=['{next(iter(dict(model.named_children())), 'encoder')}']).")
    for module in find_modules(model, names, 'compile.modules'):
        # a list is never called itself
        for part in module if isinstance(module, nn.ModuleList) else [module]:
            part.compile(**options)
    if options.get('mode') in CUDA_GRAPH_MODES:
        model.register_forward_pre_hook(_begin_step)
    return [names] if isinstance(names, str) else list(names)
