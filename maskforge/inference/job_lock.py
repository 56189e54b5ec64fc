"""One job at a time on one output: a lock that a killed owner does not leave behind."""
import json
import os
import socket
from pathlib import Path
from typing import TextIO

try:
    import fcntl
except ImportError:  # Windows has no record locks of this kind; jobs there are not kept apart
    fcntl = None


class JobLock:
    """The file ``.<out>.lock`` beside an output, with the owner's process and machine, locked while the job runs.

    The system gives the lock back when the owner ends in whatever way, so that the file of a killed job is no
    obstacle. Processes that the owner starts do not share it. With several processes the first one takes it for all.

    Args:
        out: the file that the job will write.
    """

    def __init__(self, out: Path) -> None:
        self.path = out.with_name(f'.{out.name}.lock')
        self._out = out
        self._file: TextIO | None = None

    def take(self) -> None:
        """Take the lock.

        Raises:
            ValueError: another job has it; its process and machine are named.
        """
        if fcntl is None:
            return
        while self._file is None:
            file = self.path.open('a+', encoding='utf-8')
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                file.seek(0)
                owner = file.read()
                file.close()
                raise ValueError(f'{self._out} is being written by another job ({_describe(owner)}). Wait for it, end '
                                 f'it, or use another output file.') from None
            if self._is_current(file):
                self._file = file
            else:
                file.close()  # its owner has just finished and removed it
        self._file.truncate(0)
        self._file.write(json.dumps(dict(pid=os.getpid(), host=socket.gethostname())))
        self._file.flush()

    def _is_current(self, file: TextIO) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Give it back; does nothing without it."""
        if self._file is not None:
            self.path.unlink(missing_ok=True)
            self._file.close()
            self._file = None


def _describe(owner: str) -> str:
    try:
        found = json.loads(owner)
        return f'process {found["pid"]} on {found["host"]}'
    except (ValueError, KeyError, TypeError):
        return 'which has just started'
