"""Every process has the whole model; gradients are averaged."""
from typing import Any

from mmengine.model import is_model_wrapper
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from maskforge.engine.model_preparation import wrap_model
from maskforge.registry import STRATEGIES

from .strategy import Strategy

COMPRESSED = ('float16', 'bfloat16')


@STRATEGIES.register_module()
class DDPStrategy(Strategy):
    """PyTorch's DistributedDataParallel.

    Args:
        find_unused_parameters: some steps leave parameters without gradient. Default: the config's key of this name.
        static_graph: every step uses the same parameters, in the same order.
        sync_bn: 'torch' or 'mmcv' to compute statistics of batch norms over all processes (GPUs only). Default: the
            config's key of this name.
        broadcast_buffers: copy rank 0's buffers to all processes at every step.
        gradient_as_bucket_view: gradients lie in the buffers that are sent, which saves their size in memory.
        bucket_cap_mb: size of these buffers in MiB.
        detect_anomalous_params: log parameters without gradient at every step (slow).
        gradient_compression: 'float16' or 'bfloat16': what gradients are sent as; None sends them as they are.

    Raises:
        ValueError: another compression.
    """

    def __init__(self, *, find_unused_parameters: bool = False, static_graph: bool = False, sync_bn: str | None = None,
                 broadcast_buffers: bool = False, gradient_as_bucket_view: bool = False,
                 bucket_cap_mb: float | None = None, detect_anomalous_params: bool = False,
                 gradient_compression: str | None = None) -> None:
        if gradient_compression not in (None, *COMPRESSED):
            raise ValueError(f'strategy.gradient_compression must be one of {", ".join(COMPRESSED)} or None, got '
                             f'{gradient_compression!r}.')
        self.sync_bn, self.find_unused_parameters = sync_bn, find_unused_parameters
        self.gradient_compression = gradient_compression
        options: dict[str, Any] = dict(
            static_graph=static_graph, broadcast_buffers=broadcast_buffers, bucket_cap_mb=bucket_cap_mb,
            gradient_as_bucket_view=gradient_as_bucket_view, detect_anomalous_params=detect_anomalous_params)
        self.options = {key: value for key, value in options.items() if value}

    def wrap(self, model: nn.Module, wrapper_cfg: dict | None, *, distributed: bool) -> nn.Module:
        """See :class:`Strategy`; ``wrapper_cfg`` goes before the options."""
        given = is_model_wrapper(model)
        cfg = {**self.options, **(wrapper_cfg or {})} if not given else wrapper_cfg
        wrapped = wrap_model(model, cfg or None, distributed=distributed, sync_bn=self.sync_bn,
                             find_unused_parameters=self.find_unused_parameters)
        if self.gradient_compression and not given and isinstance(wrapped, DistributedDataParallel):
            wrapped.register_comm_hook(None, _compression(self.gradient_compression))
        return wrapped


def _compression(kind: str) -> Any:
    from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
    return default_hooks.fp16_compress_hook if kind == 'float16' else default_hooks.bf16_compress_hook
