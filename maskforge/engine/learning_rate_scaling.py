"""The linear scaling rule (Goyal et al., 2017, section 2.1): k times the batch, k times the learning rate."""
from collections.abc import Mapping
from typing import Any

from mmengine.optim import OptimWrapper, OptimWrapperDict


def scaling(auto_scale_lr: Mapping[str, Any], *, world_size: int, batch_size: int, accumulative_counts: int
            ) -> tuple[float, str]:
    """Return the factor and the arithmetic as text.

    Args:
        auto_scale_lr: the config's entry; ``base_batch_size`` is the batch for which its learning rate was chosen.
        batch_size: samples of one process and iteration.
        accumulative_counts: iterations of one update.

    Raises:
        ValueError: ``base_batch_size`` is missing or not positive.
    """
    base = auto_scale_lr.get('base_batch_size')
    if not base or base <= 0:
        raise ValueError('auto_scale_lr is on, but the config does not say for which batch its learning rate was '
                         'chosen. Add auto_scale_lr=dict(enable=True, base_batch_size=16), where 16 stands for the '
                         'number of GPUs x images per GPU of the original recipe.')
    real = world_size * batch_size * accumulative_counts
    factor = real / base
    return factor, (f'auto_scale_lr: {world_size} processes x {batch_size} images x {accumulative_counts} '
                    f'accumulated = batch {real}; base_batch_size {base}; learning rate x {factor:g}')


def scale_learning_rates(optim_wrapper: OptimWrapper, factor: float) -> str:
    """Multiply the learning rate of every parameter group; returns 'before -> after' of the distinct rates."""
    wrappers = list(optim_wrapper.values()) if isinstance(optim_wrapper, OptimWrapperDict) else [optim_wrapper]
    seen: dict[str, None] = {}
    for wrapper in wrappers:
        for group in wrapper.optimizer.param_groups:
            before = group['lr']
            group['lr'] = before * factor
            seen[f'{before:g} -> {group["lr"]:g}'] = None
    return ', '.join(seen)


def accumulative_counts(optim_wrapper: OptimWrapper) -> int:
    """Iterations of one update; the largest of several optimizers."""
    wrappers = list(optim_wrapper.values()) if isinstance(optim_wrapper, OptimWrapperDict) else [optim_wrapper]
    return max(int(getattr(wrapper, '_accumulative_counts', 1)) for wrapper in wrappers)
