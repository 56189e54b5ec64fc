"""From the config of a data loader to a loader whose order and randomness can be taken up anywhere."""
import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import print_log
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from maskforge.registry import DATA_SAMPLERS, DATASETS, FUNCTIONS

from .keyed_sampler import KeyedSampler, SkippingBatchSampler
from .loader_workers import EndingDataLoader, init_worker
from .model_preparation import accepts_argument
from .seeded_dataset import SeededDataset


def build_dataloader(cfg: DataLoader | dict, *, seed: int, evaluation: bool = False) -> DataLoader:
    """Build a loader: data set, sampler, batch sampler, collate function, each from its registry.

    Args:
        cfg: MMEngine's ``xxx_dataloader`` dict; a built loader is returned as it is. ``pin_memory`` is True where there
            is a GPU, unless it says otherwise.
        seed: the run's seed, equal on all ranks.
        evaluation: validation and test: the sequential ``DefaultSampler`` deals whole batches to the ranks, so that
            results do not depend on the number of processes.
    """
    if isinstance(cfg, DataLoader):
        return cfg
    cfg = copy.deepcopy(cfg)
    _check_keys(cfg)
    dataset = _build_dataset(cfg)
    batching = dict(dataset=dataset) if isinstance(_unwrapped(dataset), IterableDataset) \
        else _build_batching(cfg, dataset, seed, evaluation)
    cfg.pop('sampler', None)
    generator = torch.Generator()
    generator.manual_seed((seed * 1000003 + get_rank()) % 2**63)
    init_fn = _build_function(cfg.pop('worker_init_fn', None), 'worker_init_fn')
    cfg.pop('disable_subprocess_warning', None)
    collate_fn = _build_function(cfg.pop('collate_fn', dict(type='pseudo_collate')), 'collate_fn')
    if not cfg.get('num_workers'):
        _leave_out_worker_settings(cfg)
    elif torch.cuda.is_available():
        cfg.setdefault('pin_memory', True)
    return EndingDataLoader(**batching, collate_fn=collate_fn, generator=generator,
                            worker_init_fn=partial(init_worker, then=init_fn), **cfg)


def with_epoch_length(cfg: DataLoader | dict, iterations: int) -> dict:
    """Return the loader's config with epochs of so many iterations, whatever the size of the data set.

    Raises:
        ValueError: the sampler cannot do it, or a length is set there already.
    """
    key = f'train_cfg.iters_per_epoch={iterations}'
    if not isinstance(iterations, int) or iterations < 1:
        raise ValueError(f'{key} must be a positive whole number.')
    sampler = cfg.get('sampler') if isinstance(cfg, dict) else None
    if not isinstance(sampler, dict):
        raise ValueError(f"{key} needs a config of the sampler: train_dataloader.sampler=dict(type='DefaultSampler').")
    if sampler.get('num_samples') or cfg.get('num_batch_per_epoch'):
        raise ValueError(f'{key}, but train_dataloader sets the length of an epoch too (sampler.num_samples or '
                         'num_batch_per_epoch); keep one of them.')
    kind = DATA_SAMPLERS.get(sampler['type']) if isinstance(sampler['type'], str) else sampler['type']
    if not accepts_argument(kind, 'num_samples'):
        raise ValueError(f'{key}: {kind.__name__} has epochs of the length of the data set. DefaultSampler, '
                         'UniformSampler and NonUniformSampler can have others.')
    return {**cfg, 'sampler': {**sampler, 'num_samples': iterations * batch_size_of(cfg) * get_world_size()}}


def skip_batches(loader: DataLoader, batches: int) -> bool:
    """Let the next iteration of ``loader`` begin after ``batches`` batches, without loading them.

    Returns:
        False where the loader (built by the user) offers no way to do it.
    """
    batch_sampler = loader.batch_sampler
    if hasattr(batch_sampler, 'start_batch'):
        batch_sampler.start_batch = batches
    elif type(batch_sampler) is BatchSampler and hasattr(batch_sampler.sampler, 'start'):
        batch_sampler.sampler.start = batches * batch_sampler.batch_size
    else:
        return batches == 0
    return True


def samplers_of(loader: DataLoader) -> list[Any]:
    """The batch sampler and the sampler of a loader, whichever exist."""
    batch_sampler = getattr(loader, 'batch_sampler', None)
    sampler = getattr(batch_sampler, 'sampler', None) or getattr(loader, 'sampler', None)
    return [part for part in (batch_sampler, sampler) if part is not None]


def set_epoch(loader: DataLoader, epoch: int) -> None:
    """Tell the samplers which epoch comes next."""
    for part in samplers_of(loader):
        if hasattr(part, 'set_epoch'):
            part.set_epoch(epoch)


def reseed(loader: DataLoader, seed: int) -> None:
    """Give the samplers the seed of the run that is resumed."""
    for part in samplers_of(loader):
        if hasattr(part, 'seed'):
            part.seed = seed
        inner = getattr(part, 'sampler', None)
        if inner is not None and hasattr(inner, 'seed'):
            inner.seed = seed


def batch_size_of(loader: DataLoader | dict) -> int:
    """Samples of one batch on one rank.

    Raises:
        ValueError: neither the loader nor its batch sampler says.
    """
    if isinstance(loader, dict):
        size = loader.get('batch_size') or (loader.get('batch_sampler') or {}).get('batch_size')
    else:
        size = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', None)
    if not size:
        raise ValueError('the batch size is not set: give train_dataloader.batch_size')
    return int(size)


def _check_keys(cfg: dict) -> None:
    for key in ('dataset', 'sampler'):
        if key not in cfg:
            raise ValueError(f"a data loader's config lacks '{key}'; it has {', '.join(sorted(cfg))}. For a sampler "
                             f"write sampler=dict(type='DefaultSampler', shuffle=True) (False for evaluation).")


def _build_dataset(cfg: dict) -> Any:
    dataset = cfg.pop('dataset')
    if isinstance(dataset, dict):
        dataset = DATASETS.build(dataset)
        if hasattr(dataset, 'full_init'):
            dataset.full_init()
    batches = cfg.pop('num_batch_per_epoch', None)
    if isinstance(dataset, IterableDataset):
        return dataset
    return SeededDataset(dataset, length=batches and batches * batch_size_of(cfg) * get_world_size(),
                         workers=cfg.get('num_workers') or 0)


def _leave_out_worker_settings(cfg: dict) -> None:
    for key in ('persistent_workers', 'timeout'):
        if cfg.get(key):
            print_log(f'{key}={cfg[key]} has no effect with num_workers=0 and is left out', 'current', 30)
    for key in ('persistent_workers', 'timeout', 'prefetch_factor'):
        cfg.pop(key, None)


def _unwrapped(dataset: Any) -> Any:
    return dataset.dataset if isinstance(dataset, SeededDataset) else dataset


def _build_batching(cfg: dict, dataset: Any, seed: int, evaluation: bool) -> dict:
    """The arguments of DataLoader that say which samples form which batch."""
    sampler, batch_sampler = cfg.pop('sampler'), cfg.pop('batch_sampler', None)
    if evaluation and batch_sampler is None and _is_sequential(sampler):
        batch_sampler = dict(type='WholeBatchSampler')
        cfg.pop('drop_last', None)
    if isinstance(sampler, dict):
        sampler = DATA_SAMPLERS.build(sampler, default_args=dict(dataset=dataset, seed=seed))
    if sampler is not None and not hasattr(sampler, 'start'):
        sampler = KeyedSampler(sampler, seed=seed)
    if batch_sampler is None:
        return dict(dataset=dataset, sampler=sampler)
    if isinstance(batch_sampler, dict):
        size = cfg.pop('batch_size', 1 if evaluation else None)
        defaults = dict(sampler=sampler, **(dict(batch_size=size) if size else {}))
        batch_sampler = DATA_SAMPLERS.build(batch_sampler, default_args=defaults)
    if not hasattr(batch_sampler, 'start_batch'):
        batch_sampler = SkippingBatchSampler(batch_sampler)
    return dict(dataset=dataset, batch_sampler=batch_sampler)


def _is_sequential(sampler: Any) -> bool:
    return isinstance(sampler, dict) and sampler.get('type') in ('DefaultSampler', 'default_sampler') \
        and not sampler.get('shuffle', True)


def _build_function(cfg: Any, key: str) -> Callable | None:
    if cfg is None or callable(cfg):
        return cfg
    if not isinstance(cfg, dict) or 'type' not in cfg:
        raise ValueError(f"{key} must be a function or dict(type='...'), not {cfg!r}")
    cfg = dict(cfg)
    kind = cfg.pop('type')
    function = FUNCTIONS.get(kind) if isinstance(kind, str) else kind
    return partial(function, **cfg) if cfg else function
