"""Resident memory of a training and of its loader workers over many iterations."""
import multiprocessing
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook

from maskforge.analysis.peak_memory import resident
from maskforge.config import load_config
from maskforge.registry import RUNNERS


class _MemorySampler(Hook):
    """Notes the resident memory of this process and of its children every few iterations."""

    priority = 'LOWEST'

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.rows: dict[str, list[tuple[int, float]]] = {}

    def after_train_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        """Take a sample if it is due."""
        if (runner.iter + 1) % self.interval:
            return
        workers = sorted(process.pid for process in multiprocessing.active_children())
        for name, pid in [('main process', os.getpid()), *((f'worker {n}', pid) for n, pid in enumerate(workers))]:
            self.rows.setdefault(name, []).append((runner.iter + 1, resident(pid)))


@dataclass(frozen=True)
class MemorySlope:
    """Memory of one process after the warm-up.

    Attributes:
        name: of the process.
        first, last: MiB, means over a tenth of the samples at the beginning and at the end.
        slope: MiB in 1000 iterations, of the straight line through all samples.
    """

    name: str
    first: float
    last: float
    slope: float

    @property
    def change(self) -> float:
        """Growth as a share of ``first``."""
        return self.last / self.first - 1

    def text(self) -> str:
        """One line of the table."""
        return f'  {self.name:14}{self.first:10.1f}{self.last:10.1f}{100 * self.change:+10.2f}{self.slope:+20.4f}'


def run(config: str | Path, *, iterations: int, work_dir: str | Path, warm_up: float = 0.2, interval: int = 20,
        options: tuple[str, ...] = ()) -> list[MemorySlope]:
    """Train so many iterations in this process and measure; Linux only.

    Args:
        config: a config whose loop counts iterations, with persistent workers.
        warm_up: share of the iterations that are not counted: caches and allocators fill in them.
        interval: iterations from one sample to the next.
        options: ``key=value`` changes of the config.
    """
    cfg = load_config(config, options=[f'train_cfg.max_iters={iterations}', *options])
    cfg.work_dir = str(work_dir)
    runner = RUNNERS.get('Runner').from_cfg(cfg)
    sampler = _MemorySampler(interval)
    runner.register_hook(sampler)
    runner.train()
    return [memory_slope(name, rows, after=warm_up * iterations) for name, rows in sampler.rows.items()]


def memory_slope(name: str, rows: list[tuple[int, float]], *, after: float) -> MemorySlope:
    """Summarise samples (iteration, MiB) later than iteration ``after``.

    Raises:
        ValueError: there are fewer than 10.
    """
    counted = np.array([row for row in rows if row[0] > after], np.float64).reshape(-1, 2)
    if len(counted) < 10:
        raise ValueError(f'{name}: {len(counted)} samples after the warm-up are too few; at least 10 are needed. Give '
                         'more iterations, or a smaller interval.')
    tenth = max(len(counted) // 10, 1)
    slope = np.polyfit(counted[:, 0], counted[:, 1], 1)[0]
    return MemorySlope(name, float(counted[:tenth, 1].mean()), float(counted[-tenth:, 1].mean()), float(1000 * slope))


def table(slopes: list[MemorySlope]) -> str:
    """The processes below one another."""
    head = f'  {"":14}{"MiB before":>10}{"after":>10}{"change %":>10}{"MiB per 1000 it.":>20}'
    return '\n'.join([head, *(slope.text() for slope in slopes)])
