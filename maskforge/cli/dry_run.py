"""``--dry-run``: everything is built, a few batches go through training, validation and test, nothing is kept."""
import copy
import itertools
import os
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook

from .run_config import build_runner, is_first_process

if TYPE_CHECKING:
    from maskforge.config import Config

_BATCHES = 3


class _StepTimer(Hook):
    """Seconds of each step, by mode; the first of each is dropped by ``seconds``."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.ends: dict[str, list[float]] = {}

    def _before_epoch(self, runner: Any, mode: str = 'train') -> None:
        self.ends[mode] = [time.perf_counter()]

    def _after_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None,
                    mode: str = 'train') -> None:
        self.ends.setdefault(mode, []).append(time.perf_counter())

    def seconds(self, mode: str) -> float:
        """Mean seconds of a step after the first, which also starts the workers."""
        ends = self.ends.get(mode, [])
        steps = [after - before for before, after in itertools.pairwise(ends)]
        return sum(steps[1:]) / len(steps[1:]) if len(steps) > 1 else sum(steps)


class _FirstBatches:
    """A loader that ends after a few batches; everything else is the loader's own."""

    def __init__(self, loader: Any, count: int) -> None:
        self.loader, self.count = loader, count

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(self.loader, self.count)

    def __len__(self) -> int:
        return min(len(self.loader), self.count)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


def dry_run(cfg: 'Config') -> int:
    """Run a few batches of each loop on a copy of ``cfg`` in a folder that is removed, and print what it took."""
    from mmengine.dist import barrier
    folder = _folder(cfg)
    try:
        runner = build_runner(shortened(cfg, str(folder)))
        timer = _StepTimer()
        runner.register_hook(timer)
        loops = {'train': runner.train_loop}
        if runner.cfg.get('val_cfg') is not None:
            loops['val'] = runner.val_loop
        sizes = {mode: _shorten(loop) for mode, loop in loops.items()}
        runner.train()
        if runner.cfg.get('test_cfg') is not None:
            sizes['test'] = _shorten(runner.test_loop)
            runner.test()
        if is_first_process():
            print(_report(cfg, timer, sizes))
        barrier()
    finally:
        if is_first_process():
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _folder(cfg: 'Config') -> Path:
    """Beside the work directory, where all machines of a run see it; the same name in all processes."""
    run = os.environ.get('SLURM_JOB_ID') or os.environ.get('MASTER_PORT') or os.getpid()
    work_dir = Path(cfg.work_dir)
    return work_dir.with_name(f'{work_dir.name}.dry_run_{run}')


def _shorten(loop: Any) -> tuple[int, int]:
    """Let a loop end after a few batches; returns its records, and its batches on this rank."""
    from maskforge.engine import SeededDataset
    dataset, batches = loop.dataloader.dataset, len(loop.dataloader)
    loop.dataloader = _FirstBatches(loop.dataloader, _BATCHES)
    return len(dataset.dataset if isinstance(dataset, SeededDataset) else dataset), batches


def shortened(cfg: 'Config', work_dir: str) -> 'Config':
    """A copy of ``cfg`` that trains one epoch (a few iterations), validates, and keeps nothing."""
    short = copy.deepcopy(cfg)
    short.work_dir, short.resume = work_dir, False
    train = {key: value for key, value in short.train_cfg.items()
             if key not in ('val_begin', 'dynamic_intervals', 'max_epochs', 'max_iters', 'val_interval')}
    by_epoch = 'max_epochs' in short.train_cfg
    train.update({'max_epochs': 1, 'val_interval': 1} if by_epoch else
                 {'max_iters': _BATCHES, 'val_interval': _BATCHES})
    short.train_cfg = train
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if short.get(name) is not None:
            short[name]['persistent_workers'] = False
    hooks = dict(short.get('default_hooks') or {})
    hooks['checkpoint'] = dict(type='CheckpointHook', interval=-1, save_last=False)
    short.default_hooks = hooks
    if short.get('visualizer'):
        short.visualizer['vis_backends'] = None
    short.custom_hooks = [hook for hook in short.get('custom_hooks') or []
                          if hook.get('type') not in ('EarlyStoppingHook',)]
    return short


def _report(cfg: 'Config', timer: _StepTimer, sizes: dict[str, tuple[int, int]]) -> str:
    lines = ['', 'dry run: every part is built and runs']
    total = 0.
    for mode, (records, batches) in sizes.items():
        seconds = timer.seconds(mode)
        total += 0. if mode == 'test' else batches * seconds * _times(cfg, mode, batches)
        lines.append(f'  {mode:<6} {records} records, {batches} steps, {seconds:.3f} s per step, '
                     f'about {_clock(batches * seconds)}')
    lines.append(f'  whole training about {_clock(total)}, estimated from {_BATCHES} steps')
    lines.append(f'  memory {_memory()}')
    return '\n'.join(lines)


def _times(cfg: 'Config', mode: str, batches: int) -> float:
    """How often the whole set of ``mode`` is gone through in the training of ``cfg``."""
    train = cfg.train_cfg
    if train.get('max_iters') is not None:
        return train['max_iters'] / batches if mode == 'train' else max(train['max_iters'] // train.get(
            'val_interval', 1000), 1)
    return train['max_epochs'] / (1 if mode == 'train' else train.get('val_interval', 1))


def _memory() -> str:
    import torch
    ram = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** 20
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2 ** 20
    text = f'{ram:.1f} GiB of the process'
    if workers > 0.05:
        text += f', {workers:.1f} GiB of its largest worker'
    if torch.cuda.is_available():
        text += f', {torch.cuda.max_memory_allocated() / 2 ** 30:.1f} GiB of the GPU'
    return text


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f'{hours}:{rest // 60:02d}:{rest % 60:02d}'
