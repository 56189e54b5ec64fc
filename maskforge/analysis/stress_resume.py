"""A training that is interrupted again and again must end with the bits of one that was left alone."""
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from .checkpoint_difference import checkpoint_differences
from .stress_interruption import TIMEOUT, Interruption, interrupt
from .stress_process import StressProcess

#: what a training imports
_ROOMS = ('engine', 'datasets', 'evaluation', 'models', 'visualization')


@dataclass
class ResumeReport:
    """What :func:`run` found.

    Attributes:
        config, processes, iterations: of the training.
        interruptions: in their order.
        differences: for each training that was interrupted and came to its end, what differs from the unbroken one.
        seconds: of everything.
    """

    config: str
    processes: int
    iterations: int
    interruptions: list[Interruption]
    differences: list[list[str]]
    seconds: float

    @property
    def exact(self) -> bool:
        """Whether every training ended with the same bits, and no SIGTERM cost an iteration."""
        return not any(self.differences) and not any(
            one.lost for one in self.interruptions if one.kind.startswith('SIGTERM'))

    def text(self) -> str:
        """A small table and a line for each training."""
        several = 'processes' if self.processes > 1 else 'process'
        lines = [f'{self.config}: {self.iterations} iterations, {self.processes} {several}, '
                 f'{len(self.interruptions)} interruptions, {self.seconds:.0f} s',
                 f'  {"":24}{"sent":>6}{"in the start":>14}{"in a save":>11}{"iterations repeated":>21}{"at most":>9}']
        for kind in sorted({one.kind for one in self.interruptions}):
            lines.append(_row(kind, [one for one in self.interruptions if one.kind == kind]))
        lines.append(_row('all', self.interruptions))
        for number, names in enumerate(self.differences, 1):
            lines.append(f'  interrupted training {number} against the unbroken one: ' + (
                f'DIFFERENT in {len(names)} entries: {", ".join(names[:6])}' if names else
                'equal bit for bit (weights, their average, optimizer, schedules, random states, messages)'))
        return '\n'.join(lines)


def run(config: str | Path, *, kills: int, work_dir: str | Path, processes: int = 1, seed: int = 0,
        options: Sequence[str] = (), forked: Callable[[list[str]], int] | None = None,
        report: Callable[[str], None] = print) -> ResumeReport:
    """Train once unbroken, then with ``kills`` interruptions, each followed by ``--resume auto``, and compare.

    Signals come while a process starts, when a file is seen being written, or at random moments of the training. Half
    of them are SIGKILL, half SIGTERM; with several processes, half of them hit one rank (SIGKILL) or the launcher
    (SIGTERM), the others all processes. A training that reaches its end before all signals were sent is compared, and
    another one is begun.

    Args:
        config: a config whose logger writes every iteration and whose checkpoints are frequent.
        kills: number of interruptions.
        work_dir: folder for the runs; what an earlier call left there is removed.
        processes: ranks on the CPU (gloo).
        seed: of the moments.
        options: further arguments of ``maskforge train``.
        forked: ``main`` of the command line, to fork the trainings from this process, which saves the seconds that
            Python and torch take to start; one process only.
        report: takes a line on each interruption.

    Raises:
        ValueError: ``forked`` with several processes.
        TimeoutError: a process hangs.
        RuntimeError: a training ended with an error.
    """
    if forked is not None and processes > 1:
        raise ValueError(f'processes={processes} are started by torchrun, which cannot be forked.')
    for room in _ROOMS if forked is not None else ():
        import_module(f'maskforge.{room}')
    began, folder = time.monotonic(), Path(work_dir)
    for old in folder.glob('*interrupted_*'):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    folder.mkdir(parents=True, exist_ok=True)

    def start(name: str, number: int) -> StressProcess:
        return StressProcess(config, folder / name, processes=processes, log=folder / f'{name}_{number:03d}.log',
                             options=options, forked=forked)

    unbroken = start('uninterrupted_1', 0)
    unbroken.wait_until(lambda: unbroken.iteration() is not None, timeout=TIMEOUT)
    start_time = unbroken.age
    _let_end(unbroken)
    total = unbroken.iteration() or 0
    report(f'unbroken: {total} iterations in {unbroken.age:.0f} s, {start_time:.0f} s of them for the start')
    rng, interruptions, differences = np.random.default_rng(seed), [], []
    while len(interruptions) < kills:
        name = f'interrupted_{len(differences) + 1}'
        for number in range(kills - len(interruptions) + 1):
            process = start(name, number)
            happened = interrupt(process, rng, stride=2 * total / kills, start_time=start_time) \
                if len(interruptions) < kills else None
            if happened is None:
                _let_end(process)
            if number:
                _note_continuation(interruptions, process)
            if happened is None:
                break
            interruptions.append(happened)
            report(f'{len(interruptions):3d}. {happened.text()}')
        differences.append(checkpoint_differences(_last(folder / 'uninterrupted_1'), _last(folder / name)))
    return ResumeReport(Path(config).stem, processes, total, interruptions, differences, time.monotonic() - began)


def _let_end(process: StressProcess) -> None:
    code = process.wait_for_end(TIMEOUT)
    if code != 0:
        raise RuntimeError(f'the training ended with exit code {code}; the end of {process.log}:\n'
                           f'{process.output()[-3000:]}')


def _last(work_dir: Path) -> Path:
    return work_dir / (work_dir / 'last_checkpoint').read_text().strip()


def _note_continuation(interruptions: list[Interruption], process: StressProcess) -> None:
    """Tell the interruptions before where this process took up; one that was cut off in its start says nothing."""
    for one in reversed(interruptions):
        if one.continued is not None:
            break
        one.continued = process.continued_at()


def _row(title: str, rows: list[Interruption]) -> str:
    lost = [one.lost for one in rows]
    return (f'  {title:24}{len(rows):>6}{sum(one.reached is None for one in rows):>14}'
            f'{sum(one.in_save for one in rows):>11}{sum(lost):>21}{max(lost):>9}')
