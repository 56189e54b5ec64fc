"""A training in processes of its own, watched through its log and ended by signals."""
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .forked_process import ForkedProcess

_BY_EPOCH = re.compile(r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\]')
_BY_ITERATION = re.compile(r'Iter\(train\)\s+\[\s*(\d+)/(\d+)\]')
_CONTINUED = re.compile(r'continuing (\S+) at epoch \d+, iteration (\d+)')


class StressProcess:
    """``maskforge train CONFIG --resume auto`` with its launcher, ranks and loader workers. Linux only.

    Args:
        config: config file; its logger must write every iteration.
        work_dir: where it saves and resumes.
        processes: ranks, on the CPU.
        log: file for all output.
        options: further arguments of the command.
        forked: ``main`` of the command line, to be run in a fork of this process instead of a new Python; one rank
            only.
    """

    def __init__(self, config: str | Path, work_dir: str | Path, *, processes: int, log: Path,
                 options: Sequence[str] = (),
                 forked: Callable[[list[str]], int] | None = None) -> None:
        self.work_dir, self.log, self.processes = Path(work_dir), log, processes
        arguments = ['train', str(config), '--work-dir', str(work_dir), '--resume', 'auto', *options]
        if processes > 1:
            arguments += ['--num-gpus', str(processes)]
        environment = dict(OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='-1')
        self._started = time.monotonic()
        log.touch()
        if forked is not None:
            self._process = ForkedProcess(forked, arguments, log=log, environment=environment)
            return
        with open(log, 'wb') as stream:
            self._process = subprocess.Popen(
                [sys.executable, '-m', 'maskforge.cli.main', *arguments], stdout=stream, stderr=subprocess.STDOUT,
                env={**os.environ, **environment}, start_new_session=True)

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._started

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def output(self) -> str:
        """Everything printed so far."""
        return self.log.read_text(errors='replace')

    def iteration(self) -> int | None:
        """Iterations that are complete, as logged; None before the first of this process."""
        lines = self.output().splitlines()
        for line in reversed(lines):
            if found := _BY_EPOCH.search(line):
                epoch, step, length = map(int, found.groups())
                return (epoch - 1) * length + step
            if found := _BY_ITERATION.search(line):
                return int(found.group(1))
        return None

    def continued_at(self) -> int | None:
        """The iteration of the checkpoint that was resumed; 0 where training began anew, None if not known yet."""
        text = self.output()
        found = _CONTINUED.search(text)
        if found:
            return int(found.group(2))
        return 0 if 'nothing to resume' in text else None

    def wait_until(self, reached: Callable[[], bool], *, timeout: float, pause: float = 0.05) -> bool:
        """Wait until ``reached()`` or the end of the process; False for the end.

        Raises:
            TimeoutError: neither came; the processes are killed.
        """
        end = time.monotonic() + timeout
        while self.exit_code is None:
            if reached():
                return True
            if time.monotonic() > end:
                self.kill_all()
                raise TimeoutError(f'the training hangs: nothing happened in {timeout:.0f} s; its log is {self.log}.')
            time.sleep(pause)
        return False

    def temporary_files(self) -> set[str]:
        """Names of files that are being written, or were when a process was killed."""
        if not self.work_dir.is_dir():
            return set()
        return {entry.name for entry in os.scandir(self.work_dir)
                if entry.name.startswith('.') and entry.name.endswith(('.tmp', '.link'))}

    def family(self) -> list[int]:
        """Process ids of the launcher, the ranks and the loader workers."""
        children: dict[int, list[int]] = {}
        for entry in filter(str.isdecimal, os.listdir('/proc')):
            if (parent := _parent(int(entry))) is not None:
                children.setdefault(parent, []).append(int(entry))
        found = [self._process.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def ranks(self) -> list[int]:
        """Process ids that train; with a launcher, the children of it."""
        if self.processes == 1:
            return [self._process.pid]
        return [pid for pid in self.family() if _command(pid).count('--launcher')
                and _parent(pid) == self._process.pid]

    def send(self, signum: int, pids: Sequence[int] | None = None) -> None:
        """Send a signal to some processes, to the one that was started by default."""
        for pid in [self._process.pid] if pids is None else pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)

    def kill_all(self) -> int:
        """End every process at once, as when a machine goes down; returns the exit code."""
        family = self.family()
        for pid in family:  # first all of them stand still, so that none sees another one go
            self.send(signal.SIGSTOP, [pid])
        self.send(signal.SIGKILL, family)
        for pid in family[1:]:
            while _alive(pid):
                time.sleep(0.01)
        return self._process.wait()

    def wait_for_end(self, timeout: float) -> int:
        """Wait for the end by itself; returns the exit code.

        Raises:
            TimeoutError: it does not end; the processes are killed.
        """
        family = self.family()
        self.wait_until(lambda: False, timeout=timeout)
        code = self._process.wait()
        left = [pid for pid in family if _alive(pid)]
        end = time.monotonic() + timeout
        while any(map(_alive, left)):
            if time.monotonic() > end:
                self.send(signal.SIGKILL, left)
                raise TimeoutError(f'processes outlive their training by {timeout:.0f} s: {left}; the log is '
                                   f'{self.log}.')
            time.sleep(0.05)
        return code


def _command(pid: int) -> list[str]:
    try:
        return Path(f'/proc/{pid}/cmdline').read_text().split('\0')
    except OSError:
        return []


def _stat(pid: int) -> list[str]:
    """State, parent and what follows; the name in brackets before them may hold anything."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return []


def _parent(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def _alive(pid: int) -> bool:
    fields = _stat(pid)
    return bool(fields) and fields[0] not in 'ZX'
