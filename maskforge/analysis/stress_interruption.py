"""One signal to a training, at a chosen or a random moment."""
import signal
import time
from dataclasses import dataclass

import numpy as np

from .stress_process import StressProcess

#: shares of the moments; the rest are random ones of the training
_DURING_START, _DURING_SAVE = 0.1, 0.45
TIMEOUT = 900.


@dataclass
class Interruption:
    """One interruption and what it cost.

    Attributes:
        kind: ``'SIGKILL'`` or ``'SIGTERM'``, and to whom where there are several processes.
        moment: ``'start'``, ``'save'`` or ``'random'``, as it was aimed.
        in_save: a file was being written when the signal was sent (SIGTERM), or was left half written (SIGKILL).
        reached: iterations complete when it ended; None before the first of the process.
        exit_code: of the process.
        continued: where the next process took up.
    """

    kind: str
    moment: str
    in_save: bool
    reached: int | None
    exit_code: int
    continued: int | None = None

    @property
    def lost(self) -> int:
        """Iterations that had to be repeated."""
        return 0 if self.reached is None else max(self.reached - (self.continued or 0), 0)

    def text(self) -> str:
        """One line."""
        at = 'in its start' if self.reached is None else f'at iteration {self.reached}'
        return f'{self.kind} {at}{", in a save" * self.in_save}, exit code {self.exit_code}'


def interrupt(process: StressProcess, rng: np.random.Generator, *, stride: float, start_time: float
              ) -> Interruption | None:
    """Send one signal at a moment that ``rng`` chooses and wait for the end.

    Args:
        process: a training that was just started.
        rng: chooses moment, signal and process.
        stride: most iterations to let pass before.
        start_time: seconds that a start takes.

    Returns:
        What was done; None if the training came to its end before.
    """
    draw = rng.random()
    moment = 'start' if draw < _DURING_START else 'save' if draw < _DURING_START + _DURING_SAVE else 'random'
    before = process.temporary_files()
    if moment == 'start':
        time.sleep(rng.uniform(0, start_time))
    elif not _let_train(process, int(rng.integers(0, int(stride) + 1))):
        return None
    elif moment == 'save':
        if not process.wait_until(lambda: process.temporary_files() - before, timeout=TIMEOUT, pause=0.0005):
            return None
    else:
        time.sleep(rng.uniform(0, 0.3))
    return _strike(process, rng, moment, before)


def _let_train(process: StressProcess, iterations: int) -> bool:
    if not process.wait_until(lambda: process.iteration() is not None, timeout=TIMEOUT):
        return False
    goal = process.iteration() + iterations
    return process.wait_until(lambda: process.iteration() >= goal, timeout=TIMEOUT)


def _strike(process: StressProcess, rng: np.random.Generator, moment: str, before: set[str]) -> Interruption | None:
    several = process.processes > 1
    partial = several and rng.random() < 0.5
    if rng.random() < 0.5:
        kind = 'SIGKILL of one rank' if partial else 'SIGKILL of all' if several else 'SIGKILL'
        ranks = process.ranks()
        if partial and ranks:
            process.send(signal.SIGKILL, [ranks[int(rng.integers(len(ranks)))]])
            code = process.wait_for_end(TIMEOUT)
        else:
            code = process.kill_all()
        in_save = bool(process.temporary_files() - before)
    else:
        kind = 'SIGTERM to the launcher' if partial else 'SIGTERM to all' if several else 'SIGTERM'
        in_save = bool(process.temporary_files() - before)
        process.send(signal.SIGTERM, process.family() if several and not partial else None)
        code = process.wait_for_end(TIMEOUT)
    return None if code == 0 else Interruption(kind, moment, in_save, process.iteration(), code)
