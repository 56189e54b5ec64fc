"""Worker processes of data loaders: how they begin, how they fail, and that they end."""
import atexit
import gc
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from weakref import WeakSet

import torch
from torch.utils.data import DataLoader

_held: WeakSet = WeakSet()
_PACKAGE = str(Path(__file__).resolve().parents[1])


def init_worker(worker_id: int, then: Callable | None = None) -> None:
    """Prepare a worker: one thread, and signals left to the main process, which saves a checkpoint first."""
    torch.set_num_threads(1)
    # what was there before the fork is left alone by the garbage collector, whose marks would copy every page of it
    # (50 MB a worker for the imported modules alone)
    gc.freeze()
    # a cluster, a terminal and torchrun send theirs to every process, one after the other
    for name in ('SIGINT', 'SIGTERM', 'SIGUSR1'):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if then is not None:
        then(worker_id)


class EndingDataLoader(DataLoader):
    """A loader whose workers end with the program, even when something still holds it.

    Python's own clean-up sends a SIGTERM and waits for ever; workers pass over it. Those that do not end when they are
    told are killed.
    """

    def __iter__(self) -> Iterator:
        batches = super().__iter__()
        if not self.num_workers:
            return batches
        for worker in batches._workers:
            worker.terminate = worker.kill  # what torch calls when a worker does not end by itself
        _held.add(batches)
        return _WorkerBatches(batches, self)


class _WorkerBatches:
    """The batches of loader workers; what goes wrong in a worker is told in its own words."""

    def __init__(self, batches: Iterator, loader: DataLoader) -> None:
        self._batches, self._loader = batches, loader

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._batches)
        except StopIteration:
            raise
        except Exception as error:
            told = _in_own_words(error, self._loader)
            if told is None:
                raise
            raise told from error


def _in_own_words(error: Exception, loader: DataLoader) -> Exception | None:
    """What torch reports of a worker without its traceback, with the record; None for a mistake in the program."""
    text, board = str(error), getattr(loader.dataset, 'board', None)
    busy = board.text(loader.dataset) if board is not None else ''
    if isinstance(error, RuntimeError) and 'timed out' in text:
        return TimeoutError(f'a data loader gave no batch within timeout={loader.timeout} s; '
                            f'{busy or "its workers do not say what they read"}. fault_cfg=dict(timeout=...) of the '
                            f'data set gives up such a record instead of the run.')
    if isinstance(error, RuntimeError) and ('exited unexpectedly' in text or 'is killed by signal' in text):
        return RuntimeError(f'{text.splitlines()[0].rstrip(".")}: {busy or "no record was being prepared"}. Killed '
                            f'workers often mean too little memory: fewer num_workers, or a smaller prefetch_factor, '
                            f'need less.')
    if 'in DataLoader worker process' not in text.partition('\n')[0]:
        return None
    frames = re.findall(r'File "([^"]+)"', text)
    message = re.match('[^:]*: (.*)', text.rstrip().splitlines()[-1])  # behind the name of the exception's class
    ours = frames and frames[-1].startswith(_PACKAGE) and message
    return type(error)(message[1]) if ours and isinstance(error, (ValueError, OSError)) else None


@atexit.register
def _end_workers() -> None:
    for batches in list(_held):
        batches._shutdown_workers()  # what torch calls when the iterator is collected
