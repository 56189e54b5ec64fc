"""The optimizer's wrapper: accumulation, clipping, and an exact state."""
from typing import Any

import torch
from mmengine import dist
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper as _OptimWrapper
from torch import Tensor, nn
from torch.optim import Optimizer

from maskforge.engine.scalar_history import record_scalar
from maskforge.engine.strategies.sharded_tensors import is_sharded, sharded_like
from maskforge.registry import OPTIM_WRAPPERS

from .gradient_clipping import GradientClipping
from .unused_parameters import drop_zero_gradients


@OPTIM_WRAPPERS.register_module()
class OptimWrapper(_OptimWrapper):
    """MMEngine's wrapper, repaired where it loses something.

    - A checkpoint within an accumulation window carries the gradients so far.
    - On resume, what the config changed since (learning rate, ``auto_scale_lr``, weight decay, ...) takes effect and
      is named in a warning; what hooks and schedules changed comes from the checkpoint.
    - The gradient norm is logged without waiting for the device.

    Args:
        optimizer: the optimizer.
        accumulative_counts: iterations whose gradients make one update; the last, shorter window of a run is averaged
            over its own length.
        clip_grad: see :class:`GradientClipping`.

    Attributes:
        unused_get_zeros: the model gives a gradient of zero to what a step does not use.

    Raises:
        ValueError: a count below 1, or an optimizer that needs a closure (LBFGS).
    """

    def __init__(self, optimizer: Optimizer, accumulative_counts: int = 1, clip_grad: dict[str, Any] | None = None):
        if accumulative_counts < 1:
            raise ValueError(f'optim_wrapper.accumulative_counts must be at least 1, got {accumulative_counts}.')
        if isinstance(optimizer, torch.optim.LBFGS):
            raise ValueError('LBFGS evaluates the loss several times per step, which the training loops do not '
                             'offer; use another optimizer.')
        super().__init__(optimizer, accumulative_counts=accumulative_counts)
        self.clipping = GradientClipping(clip_grad)
        self.clip_grad_kwargs = self.clipping  # MMEngine's methods ask for its truth value
        self.unused_get_zeros = False
        self._configured: list[dict[str, Any]] | None = None

    def step(self, **kwargs: Any) -> None:
        """Update; what a model gave zeros for, because the step has not used it, stays as it is."""
        self._drop_unused()
        super().step(**kwargs)

    def _drop_unused(self) -> None:
        if self.unused_get_zeros:
            drop_zero_gradients(self._parameters())

    def _clip_grad(self) -> None:
        norm = self.clipping(self._parameters())
        if norm is not None:
            record_scalar(self.message_hub, 'train/grad_norm', norm.full_tensor() if is_sharded(norm) else norm)

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.optimizer.param_groups for parameter in group['params']]

    # accumulation ------------------------------------------------------------------------------------------------

    @property
    def has_open_window(self) -> bool:
        """Gradients are waiting for more before the next update."""
        return self._inner_count % self._accumulative_counts != 0 and self._inner_count != self._max_counts

    def synchronize_partial_gradients(self) -> None:
        """Average the waiting gradients over the processes, so that rank 0's are everyone's (before a checkpoint).

        The update does not change: the mean over the processes is linear. All ranks must call this.
        """
        if not self.has_open_window or dist.get_world_size() == 1:
            return
        for parameter in self._parameters():
            # a sharded gradient is the mean over the processes already
            if parameter.grad is not None and not is_sharded(parameter.grad):
                dist.all_reduce(parameter.grad, 'mean')

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """Set the position within the run; the loops call this before the first iteration."""
        restored = any(parameter.grad is not None for parameter in self._parameters())
        self._configured = self._configured or self._settings()
        aligned = init_counts - init_counts % self._accumulative_counts if restored else init_counts
        super().initialize_count_status(model, aligned, max_counts)  # warns of lost gradients unless aligned
        self._inner_count = init_counts

    # state -------------------------------------------------------------------------------------------------------

    def _settings(self) -> list[dict[str, Any]]:
        """Hyperparameters of every group as the config set them: schedules are looked through."""
        return [{key: group.get(f'initial_{key}', value) for key, value in group.items()
                 if key not in ('params', 'param_names') and not key.startswith('initial_')
                 and not isinstance(value, Tensor)}
                for group in self.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's state, the configured settings, and the gradients of an open window."""
        state = super().state_dict()
        state['configured'] = self._configured or self._settings()
        if self.has_open_window:
            state['partial_gradients'] = [parameter.grad for parameter in self._parameters()]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state, also one that MMEngine wrote.

        Raises:
            ValueError: the parameter groups differ; the message says how and what to do.
        """
        state = dict(state_dict)
        stored, gradients = state.pop('configured', None), state.pop('partial_gradients', None)
        own = self._configured or self._settings()
        self._check_groups(state['param_groups'])
        super().load_state_dict(state)
        self._configured = own
        self._follow_config(own, stored)
        if gradients is not None:
            for parameter, gradient in zip(self._parameters(), gradients):
                if gradient is not None and is_sharded(parameter):
                    gradient = sharded_like(gradient, parameter)
                parameter.grad = None if gradient is None else gradient.to(parameter.device, parameter.dtype)

    def _check_groups(self, stored: list[dict[str, Any]]) -> None:
        theirs = [len(group['params']) for group in stored]
        ours = [len(group['params']) for group in self.optimizer.param_groups]
        if theirs != ours:
            raise ValueError(
                f'The checkpoint\'s optimizer has {len(theirs)} parameter groups with {sum(theirs)} parameters, this '
                f'run\'s has {len(ours)} with {sum(ours)}: the model, its frozen parts or paramwise_cfg changed. To '
                'start over with the weights alone, use --load-from instead of --resume-from.')

    def _follow_config(self, own: list[dict[str, Any]], stored: list[dict[str, Any]] | None) -> None:
        groups = self.param_groups
        if stored is None or len(stored) != len(groups):  # written by MMEngine: only the base of a schedule is known
            stored = [dict(lr=group['initial_lr']) if 'initial_lr' in group else {} for group in groups]
        changes: dict[str, None] = {}
        for group, new, old in zip(groups, own, stored):
            for key in new.keys() & old.keys():
                before = tuple(old[key]) if isinstance(old[key], list) else old[key]
                if before != new[key]:
                    _change(group, key, before, new[key])
                    changes[f'{key} {before} -> {new[key]}'] = None
        if changes:
            listed = list(changes)
            more = f' and {len(listed) - 4} more' if len(listed) > 4 else ''
            print_log(f'The config (with auto_scale_lr) differs from the checkpoint\'s: {", ".join(listed[:4])}{more}. '
                      'The present config is used.', 'current', level=30)


def _change(group: dict[str, Any], key: str, before: Any, value: Any) -> None:
    """Give the group the new setting; a scheduled or decayed learning rate keeps its ratio to the base."""
    if key == 'lr' and before:
        group['lr'] *= value / before
    else:
        group[key] = value
    if f'initial_{key}' in group:
        group[f'initial_{key}'] = value
