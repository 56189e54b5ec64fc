"""The linear scaling rule (Goyal et al., 2017, section 2.1): k times the batch, k times the learning rate."""
import os
from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_world_size
from mmengine.optim import OptimWrapper
from torch.utils.data import DataLoader

from .data_loading import batch_size_of
from .optim.inner_wrappers import inner_wrappers


def scale_to_batch(optim_wrapper: OptimWrapper, auto_scale_lr: Mapping[str, Any], loader: DataLoader) -> str:
    """Scale the learning rates to the real batch over all processes; returns the arithmetic."""
    batch_size, sources = samples_per_step(loader)
    factor, arithmetic = scaling(auto_scale_lr, world_size=get_world_size(), batch_size=batch_size, sources=sources,
                                 accumulative_counts=accumulative_counts(optim_wrapper), machines=machine_count())
    return f'{arithmetic}: {scale_learning_rates(optim_wrapper, factor)}'


def scaling(auto_scale_lr: Mapping[str, Any], *, world_size: int, batch_size: float, accumulative_counts: int,
            sources: str = '', machines: int = 1) -> tuple[float, str]:
    """Return the factor and the arithmetic as text.

    Args:
        auto_scale_lr: the config's entry; ``base_batch_size`` is the batch for which its learning rate was chosen.
        world_size: processes of all machines.
        batch_size: samples of one process and iteration; a mean where it differs from iteration to iteration.
        accumulative_counts: iterations of one update.
        sources: how ``batch_size`` came about, from :func:`samples_per_step`.
        machines: only named in the text, their processes are counted already.

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
    on = f' on {machines} machines' if machines > 1 else ''
    return factor, (f'auto_scale_lr: {world_size} processes{on} x {batch_size:g} images{sources} x '
                    f'{accumulative_counts} accumulated = batch {real:g}; base_batch_size {base}; '
                    f'learning rate x {factor:g}')


def samples_per_step(loader: DataLoader) -> tuple[float, str]:
    """Samples of one process and iteration, and a note on how they were counted.

    A batch sampler of several sources with ``batch_sizes`` of their own says in ``source_shares`` which part of the
    iterations each has; the mean counts.
    """
    sampler = loader.batch_sampler
    shares = getattr(sampler, 'source_shares', None)
    if shares is None or len(set(sampler.batch_sizes)) == 1:
        return batch_size_of(loader), ''
    pairs = list(zip(sampler.batch_sizes, shares))
    terms = ' + '.join(f'{size} x {share:.3g}' for size, share in pairs)
    return sum(size * share for size, share in pairs), f' (mean of the sources: {terms})'


def machine_count() -> int:
    """Machines of the run, as torchrun or Slurm says."""
    if get_world_size() == 1:
        return 1
    for name in ('GROUP_WORLD_SIZE', 'SLURM_STEP_NUM_NODES', 'SLURM_JOB_NUM_NODES'):
        if os.environ.get(name, '').isdigit():
            return int(os.environ[name])
    return 1


def scale_learning_rates(optim_wrapper: OptimWrapper, factor: float) -> str:
    """Multiply the learning rate of every parameter group; returns 'before -> after' of the distinct rates."""
    seen: dict[str, None] = {}
    for wrapper in inner_wrappers(optim_wrapper):
        for group in wrapper.optimizer.param_groups:
            before = group['lr']
            group['lr'] = before * factor
            seen[f'{before:g} -> {group["lr"]:g}'] = None
    return ', '.join(seen)


def accumulative_counts(optim_wrapper: OptimWrapper) -> int:
    """Iterations of one update; the largest of several optimizers."""
    return max(int(getattr(wrapper, '_accumulative_counts', 1)) for wrapper in inner_wrappers(optim_wrapper))
