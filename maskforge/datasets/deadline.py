"""A time limit for reading a file that may never answer."""
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def deadline(seconds: float | int | None) -> Iterator[None]:
    """Raise ``TimeoutError`` inside the block once it takes longer than ``seconds``; None for no limit.

    It rests on SIGALRM: it acts in a process's main thread (loader workers are processes), on systems that have that
    signal, and on waits that signals interrupt, as those of reads from most network file systems.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread() \
            or not hasattr(signal, 'setitimer'):
        yield
        return

    def give_up(_signum: int, _frame: object) -> None:
        raise TimeoutError(f'reading took longer than {seconds} s')

    handler = signal.signal(signal.SIGALRM, give_up)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, handler)
