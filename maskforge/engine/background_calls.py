"""A function that works through its calls behind the caller."""
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


class BackgroundCalls:
    """Calls ``function`` in one thread, in order, while the object is entered as a context; outside of it, directly.

    Leaving the context waits for all calls, or, where an error leaves it, for the one that is being worked on; no
    thread stays. An error of ``function`` is raised, as it is, by the next call or at the end of the context; later
    calls are left out. The thread works on the CUDA device and stream of the caller.

    Args:
        function: called with keyword arguments; what it returns is dropped.
        waiting: calls that may wait for their turn; one more waits for room.
    """

    def __init__(self, function: Callable[..., Any], *, waiting: int = 2) -> None:
        self.function, self.waiting = function, waiting
        self._pool: ThreadPoolExecutor | None = None
        self._open: deque[Future] = deque()
        self._failed = False

    def __enter__(self) -> 'BackgroundCalls':
        self._pool, self._failed = ThreadPoolExecutor(1, thread_name_prefix='background calls'), False
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        pool, self._pool = self._pool, None
        calls, self._open = self._open, deque()
        pool.shutdown(cancel_futures=kind is not None)
        if kind is None:
            for call in calls:
                call.result()

    def __call__(self, **arguments: Any) -> None:
        """Have ``function`` called."""
        if self._pool is None:
            self.function(**arguments)
            return
        # one call is being worked on beside those that wait
        while self._open and (self._open[0].done() or len(self._open) > self.waiting):
            self._open.popleft().result()
        self._open.append(self._pool.submit(self._call, _place(), arguments))

    def _call(self, place: AbstractContextManager, arguments: dict[str, Any]) -> None:
        if self._failed:
            return
        try:
            with place:
                self.function(**arguments)
        except BaseException:
            self._failed = True
            raise


def _place() -> AbstractContextManager:
    """Device and stream of this thread."""
    return torch.cuda.stream(torch.cuda.current_stream()) if torch.cuda.is_initialized() else nullcontext()
