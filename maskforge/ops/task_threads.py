"""Numbered tasks on as many threads as torch uses, for kernels that let go of Python's lock while they run."""
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

_pools: dict[int, ThreadPoolExecutor] = {}
# threads do not survive a fork: a child starts its own
if hasattr(os, 'register_at_fork'):  # not on Windows
    os.register_at_fork(after_in_child=_pools.clear)


def run_tasks(run: Callable[[int, int], object], count: int, *, chunks_per_thread: int = 4) -> None:
    """Call ``run(first, last)`` until the tasks 0 to ``count`` - 1 are done, on ``torch.get_num_threads()`` threads.

    The calling thread takes part. Chunks are handed out as threads become free, so a task must give the same result
    whichever thread runs it, and write only what no other task writes.

    Raises:
        BaseException: what a task raised, after all threads have stopped.
    """
    threads = max(1, min(torch.get_num_threads(), count))
    if threads == 1:
        run(0, count)
        return
    size = -(-count // (threads * chunks_per_thread))
    starts = itertools.count(0, size)

    def work() -> None:
        for first in starts:  # next() of a counter is atomic
            if first >= count:
                return
            run(first, min(first + size, count))

    others = [_pool(threads - 1).submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        failures = [failure for failure in (other.exception() for other in others) if failure]
    if failures:
        raise failures[0]


def _pool(threads: int) -> ThreadPoolExecutor:
    if threads not in _pools:
        _pools[threads] = ThreadPoolExecutor(threads, thread_name_prefix='maskforge kernel')
    return _pools[threads]
