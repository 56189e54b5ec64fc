"""Which record each loader worker is preparing: for messages about workers that hang or die."""
import time
from typing import Any

import torch
from torch.utils.data import get_worker_info


class ReadingBoard:
    """A line for each worker in memory that they share with the main process.

    Args:
        workers: number of loader workers; in the main process itself nothing is noted.
    """

    def __init__(self, workers: int) -> None:
        # index (-1: none), and the time at which it was begun
        self._lines = torch.full((max(workers, 1), 2), -1., dtype=torch.float64).share_memory_()

    def begin(self, index: int) -> None:
        """Note that the calling worker prepares a record."""
        self._write(index, time.time())

    def end(self) -> None:
        """Note that it is done."""
        self._write(-1, -1.)

    def text(self, dataset: Any) -> str:
        """The records being prepared, longest first: ``worker 1 has been at images/7.jpg for 62 s``."""
        busy = [(started, worker, int(index)) for worker, (index, started) in enumerate(self._lines.tolist())
                if index >= 0]
        return '; '.join(f'worker {worker} has been at {record_name(dataset, index)} for {time.time() - started:.0f} s'
                         for started, worker, index in sorted(busy))

    def _write(self, index: int, moment: float) -> None:
        worker = get_worker_info()
        if worker is not None and worker.id < len(self._lines):
            self._lines[worker.id, 0], self._lines[worker.id, 1] = index, moment


def record_name(dataset: Any, index: int) -> str:
    """The file or video of a record; its number where the data set does not tell."""
    try:
        info = dataset.get_data_info(index)
    except Exception:  # this is for a message about another error, which must not be lost
        info = {}
    return str(info.get('img_path') or info.get('video_name') or f'record {index}')
