"""The progress of a batch job: a bar on a terminal, a plain line now and then elsewhere."""
import sys
import time
from types import TracebackType

from mmengine.logging import print_log

PLAIN_INTERVAL_SECONDS = 20.0


class JobProgress:
    """Counts finished images (or what ``unit`` names). Use as a context manager."""

    def __init__(self, total: int, *, done: int = 0, title: str = 'Predicting',
                 unit: str = 'images') -> None:
        self.total, self.done, self.title, self.unit = total, done, title, unit
        self._start, self._first, self._last = time.monotonic(), done, time.monotonic()
        self._bar = self._task = None

    def __enter__(self) -> 'JobProgress':
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
                                 TimeRemainingColumn(), console=Console(stderr=True))
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=self.total, completed=self.done)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, count: int) -> None:
        """Count ``count`` more."""
        self.done += count
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done)
        elif time.monotonic() - self._last >= PLAIN_INTERVAL_SECONDS or self.done == self.total:
            self._last = time.monotonic()
            rate = (self.done - self._first) / max(self._last - self._start, 1e-9)
            print_log(f'{self.title}: {self.done}/{self.total} {self.unit}, {rate:.2f} {self.unit}/s', logger='current')
