"""Worker processes of data loaders: how they begin, and that they end."""
import atexit
import gc
import signal
from collections.abc import Callable, Iterator
from weakref import WeakSet

import torch
from torch.utils.data import DataLoader

_held: WeakSet = WeakSet()


def init_worker(worker_id: int, then: Callable | None = None) -> None:
    """Prepare a worker: one thread, and signals left to the main process, which saves a checkpoint first."""
    torch.set_num_threads(1)
    # what was there before the fork is left alone by the garbage collector, whose marks would copy every page of it
    # (50 MB a worker for the imported modules alone)
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # a cluster's first SIGTERM goes to every process; only the second one ends a worker
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    if then is not None:
        then(worker_id)


class EndingDataLoader(DataLoader):
    """A loader whose workers end with the program, even when something still holds it.

    Python's own clean-up sends one SIGTERM and waits for ever; workers pass over the first one.
    """

    def __iter__(self) -> Iterator:
        batches = super().__iter__()
        if self.num_workers:
            _held.add(batches)
        return batches


@atexit.register
def _end_workers() -> None:
    for batches in list(_held):
        batches._shutdown_workers()  # what torch calls when the iterator is collected
