"""Weights, gradients and optimizer state are dealt out to the processes."""
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine import dist
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from maskforge.checkpoints.sharded_checkpoint import save_sharded, take_apart
from maskforge.engine.model_preparation import to_device
from maskforge.engine.optim.inner_wrappers import inner_wrappers
from maskforge.engine.training_state import plain
from maskforge.registry import STRATEGIES

from .activation_checkpointing import recompute_modules
from .fsdp_on_cpu import check_cpu_averages
from .sharded_tensors import accept_whole_state, accept_whole_tensors, own_piece, whole
from .sharding_units import automatic_units, named_units
from .strategy import Strategy

DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16, 'float16': torch.float16}


@STRATEGIES.register_module()
class FSDP2Strategy(Strategy):
    """PyTorch's ``fully_shard``: with N processes each keeps 1/N of weights, gradients and optimizer state.

    The weights of a block are gathered when its turn comes and given back after it. An evaluation gathers them all
    once, since processes may have different numbers of batches. In one process nothing is sharded.

    A block must run the same number of times in all processes, and its parameters must get a gradient in all of them
    or in none. What is in no block is gathered once a step and may run as often as the data asks for.

    Args:
        units: blocks that are gathered each by itself: names of modules (with ``*``), names of classes; 'auto' takes
            the members of lists of like modules, of those parts of the model that its ``sharded_parts`` names.
        min_params: 'auto' leaves smaller ones with what is around them.
        find_unused_parameters: parameters that got no gradient in a process count as zeros there
            (where the installed PyTorch can). Default: the config's key of this name.
        reshard_after_forward: give the weights of a block back after its forward pass and gather them again for the
            backward pass; False saves the second gathering and costs the memory of all weights.
        param_dtype: 'bfloat16' or 'float16': what the weights of the blocks are gathered as and computed in; their
            inputs are cast to it and their outputs back. What is in no block stays in float32.
        reduce_dtype: what gradients of the blocks are sent as; by default that of the computation.
        cast_inputs: False leaves the inputs of the blocks as they are, for use with ``AmpOptimWrapper``.
        cpu_offload: keep weights, gradients and optimizer state in the host's memory and update them there.
        activation_checkpointing: names of modules or classes whose activations are computed again in the backward
            pass instead of kept.
        sync_bn: 'torch' or 'mmcv', see :class:`DDPStrategy`.
        checkpoint: 'full' writes one file that any strategy loads; 'sharded' a folder into which each process writes
            its part.

    Raises:
        ValueError: another dtype or form of checkpoint.
    """

    def __init__(self, *, units: str | Sequence[str] = 'auto', min_params: int = 500_000,
                 reshard_after_forward: bool = True, param_dtype: str | None = None, reduce_dtype: str | None = None,
                 cast_inputs: bool = True, cpu_offload: bool = False, activation_checkpointing: Sequence[str] = (),
                 find_unused_parameters: bool = False, sync_bn: str | None = None, checkpoint: str = 'full') -> None:
        if checkpoint not in ('full', 'sharded'):
            raise ValueError(f"strategy.checkpoint must be 'full' or 'sharded', got {checkpoint!r}.")
        self.units, self.min_params, self.reshard = units, min_params, reshard_after_forward
        self.param_dtype = _dtype('param_dtype', param_dtype)
        self.reduce_dtype = _dtype('reduce_dtype', reduce_dtype)
        self.cast_inputs, self.cpu_offload, self.checkpoint = cast_inputs, cpu_offload, checkpoint
        self.recomputed, self.sync_bn = activation_checkpointing, sync_bn
        self.find_unused_parameters = find_unused_parameters
        self._mesh: Any = None

    @property
    def gathers(self) -> bool:
        """Each process has a part of everything, once the model is sharded."""
        return self._mesh is not None

    def wrap(self, model: nn.Module, wrapper_cfg: dict | None, *, distributed: bool) -> nn.Module:
        """See :class:`Strategy`; the model is sharded later, when its weights are initialised.

        Raises:
            ValueError: the config has a ``model_wrapper_cfg``, or the model is wrapped already.
        """
        if wrapper_cfg is not None or is_model_wrapper(model):
            raise ValueError("strategy='fsdp' wraps no model: leave out model_wrapper_cfg, which belongs to 'ddp'.")
        return to_device(model, distributed=distributed, sync_bn=self.sync_bn)

    def prepare(self, runner) -> None:
        """Shard the model of a training."""
        if self.gathers:
            return
        if runner.world_size > 1:
            self._mesh = self._make_mesh(runner.model)
            runner.initialise_weights()
            runner.call_hook('before_sharding')
        else:
            self._tell_of_one_process()
        recompute_modules(runner.model, self.recomputed, 'strategy.activation_checkpointing')
        if self.gathers:
            self.shard(runner.model)
            runner.logger.info(self._summary(runner.model))

    def _tell_of_one_process(self) -> None:
        ignored = [name for name, used in (('param_dtype', self.param_dtype), ('reduce_dtype', self.reduce_dtype),
                                           ('cpu_offload', self.cpu_offload)) if used]
        more = f'; its {", ".join(ignored)} {"has" if len(ignored) == 1 else "have"} no effect' if ignored else ''
        print_log(f"strategy='fsdp' in one process: nothing is sharded, the training is the usual one{more}",
                  'current', 30)

    def _make_mesh(self, model: nn.Module) -> Any:
        from torch.distributed.device_mesh import init_device_mesh
        kind = next(model.parameters()).device.type
        mesh = init_device_mesh(kind, (dist.get_world_size(),))
        if kind == 'cpu':
            check_cpu_averages(mesh)
            if self.cpu_offload:
                print_log('strategy.cpu_offload has no effect: the training is on the CPU', 'current', 30)
        return mesh

    def shard(self, model: nn.Module) -> None:
        """Shard the model in place, also a copy of it that lives beside it (a moving average)."""
        from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, fully_shard
        common: dict[str, Any] = dict(mesh=self._mesh)
        if self.cpu_offload and self._mesh.device_type != 'cpu':
            common['offload_policy'] = CPUOffloadPolicy()
        lower = self.param_dtype or self.reduce_dtype
        policy = MixedPrecisionPolicy(param_dtype=self.param_dtype, reduce_dtype=self.reduce_dtype,
                                      output_dtype=torch.float32 if self.param_dtype else None,
                                      cast_forward_inputs=self.cast_inputs) if lower else MixedPrecisionPolicy()
        # a block before what it lies in
        for name in sorted(self._names(model), key=lambda name: -name.count('.')):
            fully_shard(model.get_submodule(name), mp_policy=policy, reshard_after_forward=self.reshard, **common)
        fully_shard(model, **common)
        if self.find_unused_parameters:
            _count_unused_as_zeros(model)
        accept_whole_tensors(model)

    def _names(self, model: nn.Module) -> list[str]:
        if self.units == 'auto':
            return automatic_units(model, min_params=self.min_params)
        return named_units(model, self.units, 'strategy.units')

    def _summary(self, model: nn.Module) -> str:
        number = len(_sharded_modules(model)) - 1
        total = sum(parameter.numel() for parameter in model.parameters())
        own = sum(parameter.to_local().numel() for parameter in model.parameters())
        return (f'FSDP2: {number} blocks and the rest are sharded over {self._mesh.size()} processes; this one keeps '
                f'{own / 1e6:.2f} of {total / 1e6:.2f} million parameters')

    def adopt_optimizer(self, optim_wrapper: Any) -> None:
        """Let the optimizer take the state of whole checkpoints."""
        if not self.gathers:
            return
        for wrapper in inner_wrappers(optim_wrapper):
            if not getattr(wrapper.optimizer, '_takes_whole_state', False):
                accept_whole_state(wrapper.optimizer)
                wrapper.optimizer._takes_whole_state = True

    def gather(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """See :class:`Strategy`."""
        return whole(checkpoint, keep=dist.is_main_process()) if self.gathers else checkpoint

    @property
    def checkpoint_suffix(self) -> str:
        """Checkpoints in parts are folders."""
        return '' if self.gathers and self.checkpoint == 'sharded' else '.pth'

    def save_in_parts(self, checkpoint: dict[str, Any], folder: str) -> bool:
        """See :class:`Strategy`."""
        if self.checkpoint_suffix:
            return False
        pieces: dict[str, Tensor] = {}
        index = take_apart(checkpoint, own_piece, pieces)
        save_sharded(plain(index), plain(pieces), folder)
        return True

    @contextmanager
    def evaluation(self, model: nn.Module) -> Iterator[None]:
        """All weights are gathered within."""
        modules = _sharded_modules(model) if self.gathers else []
        for module in modules:
            module.unshard()
            module.set_reshard_after_forward(False, recurse=False)
        try:
            yield
        finally:
            for module in modules:
                module.reshard()
                # the rest of the model is needed again at once, in the backward pass
                module.set_reshard_after_forward(self.reshard and module is not modules[0], recurse=False)


def _count_unused_as_zeros(model: Any) -> None:
    if hasattr(model, 'set_reduce_scatter_unused_params'):
        model.set_reduce_scatter_unused_params(True)
    else:
        print_log(f"find_unused_parameters is not followed: PyTorch {torch.__version__} has nothing of the kind for "
                  "strategy='fsdp'; every step must use all parameters", 'current', 30)


def _sharded_modules(model: nn.Module) -> list[Any]:
    from torch.distributed.fsdp import FSDPModule
    return [module for module in model.modules() if isinstance(module, FSDPModule)]


def _dtype(option: str, name: str | None) -> torch.dtype | None:
    if name is not None and name not in DTYPES:
        raise ValueError(f'strategy.{option} must be one of {", ".join(DTYPES)}, got {name!r}.')
    return DTYPES.get(name) if name else None
