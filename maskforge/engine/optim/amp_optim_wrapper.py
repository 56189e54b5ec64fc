"""Mixed precision on CPU and GPU."""
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from maskforge.registry import OPTIM_WRAPPERS

from .optim_wrapper import OptimWrapper

_DTYPES = {'float16': torch.float16, 'bfloat16': torch.bfloat16, 'float32': torch.float32}


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(OptimWrapper):
    """Runs the forward pass in ``float16`` or ``bfloat16`` where that is safe (``torch.autocast``).

    The gradients of ``float16`` are scaled against underflow; ``bfloat16`` has the range of ``float32`` and needs no
    scaling. MMEngine's class works on GPUs only and scales always.

    Args:
        loss_scale: ``'dynamic'``, a fixed number, or a dict of ``torch.amp.GradScaler`` arguments; ``float16`` only.
        dtype: ``'float16'``, ``'bfloat16'``, ``'float32'`` (off) or the torch dtype. Default: ``float16`` on GPUs,
            ``bfloat16`` on CPUs.
        use_fsdp: the model is wrapped in FullyShardedDataParallel: the scaler agrees on overflows over the ranks.
        **kwargs: see :class:`OptimWrapper`.

    Raises:
        ValueError: another dtype, or a loss scale of another kind.
    """

    def __init__(self, *, loss_scale: str | float | dict[str, Any] = 'dynamic', dtype: str | torch.dtype | None = None,
                 use_fsdp: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.device_type = self._parameters()[0].device.type
        default = 'bfloat16' if self.device_type == 'cpu' else 'float16'
        self.cast_dtype = dtype if isinstance(dtype, torch.dtype) else _DTYPES.get(dtype or default)
        if self.cast_dtype not in _DTYPES.values():
            raise ValueError(f'optim_wrapper.dtype must be one of {", ".join(_DTYPES)}, got {dtype!r}.')
        self._fixed_scale = None if isinstance(loss_scale, (str, dict)) else float(loss_scale)
        self.loss_scaler = self._make_scaler(loss_scale, use_fsdp)

    def _make_scaler(self, loss_scale: str | float | dict[str, Any], use_fsdp: bool) -> torch.amp.GradScaler:
        if isinstance(loss_scale, dict):
            options = dict(loss_scale)
        elif loss_scale == 'dynamic':
            options = {}
        elif isinstance(loss_scale, (int, float)):
            options = dict(init_scale=float(loss_scale))
        else:
            raise ValueError(f"optim_wrapper.loss_scale must be 'dynamic', a number or a dict, got {loss_scale!r}.")
        kind = torch.amp.GradScaler
        if use_fsdp:
            from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler as kind
        options.setdefault('enabled', self.cast_dtype is torch.float16)
        return kind(self.device_type, **options)

    def backward(self, loss: Tensor, **kwargs) -> None:
        """Backward pass of the scaled loss."""
        super().backward(self.loss_scaler.scale(loss), **kwargs)

    def step(self, **kwargs) -> None:
        """Update, unless gradients overflowed; then only the scale falls."""
        self._drop_unused()
        self.loss_scaler.unscale_(self.optimizer)
        if self.clipping:
            self._clip_grad()
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update(self._fixed_scale)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Mixed precision, and no gradient exchange within an accumulation window."""
        enabled = self.cast_dtype is not torch.float32
        dtype = self.cast_dtype if enabled else None
        with super().optim_context(model), torch.autocast(self.device_type, dtype=dtype, enabled=enabled):
            yield

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`OptimWrapper.state_dict`; with the scaler's state."""
        return {**super().state_dict(), 'loss_scaler': self.loss_scaler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See :meth:`OptimWrapper.load_state_dict`; a run without scaling may continue one with it and vice versa."""
        state = dict(state_dict)
        scaler = state.pop('loss_scaler', None)
        if scaler and self.loss_scaler.is_enabled():
            self.loss_scaler.load_state_dict(scaler)
        super().load_state_dict(state)
