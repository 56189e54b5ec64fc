"""A command of ours in a fork of this process, which has imported everything already: it starts in no time."""
import atexit
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path


class ForkedProcess:
    """What ``subprocess.Popen`` is for a command line; POSIX only.

    Args:
        main: takes the arguments and returns the exit code.
        arguments: of the command.
        log: file for all output.
        environment: variables to set.

    Attributes:
        pid: of the process.
    """

    def __init__(self, main: Callable[[list[str]], int], arguments: Sequence[str], *, log: Path,
                 environment: dict[str, str]) -> None:
        self._code: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _become(main, list(arguments), log, environment)

    def poll(self) -> int | None:
        """The exit code (negative for a signal), None while it runs."""
        return self._note(os.WNOHANG)

    def wait(self) -> int:
        """Wait for the end; returns the exit code."""
        return self._note(0)

    def _note(self, options: int) -> int | None:
        if self._code is None:
            pid, status = os.waitpid(self.pid, options)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code


def _become(main: Callable[[list[str]], int], arguments: list[str], log: Path, environment: dict[str, str]) -> None:
    code = 1
    try:
        os.setsid()
        os.environ.update(environment)
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, 1)
        os.dup2(target, 2)
        code = main(arguments)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)
