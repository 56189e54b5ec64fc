"""The arguments that all benchmarks share."""
import argparse
import time
from collections.abc import Callable

import torch

from maskforge.analysis.ratio_table import RatioTable

#: what seconds are measured by
CLOCKS = dict(wall=time.perf_counter, cpu=time.process_time)


def parser(description: str, *, rounds: int) -> argparse.ArgumentParser:
    """A parser with ``--rounds``, ``--clock``, ``--json`` and ``--markdown``."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument('--rounds', type=int, default=rounds, help=f'measurements of each side, in turns ({rounds})')
    found.add_argument('--clock', choices=CLOCKS, default='wall',
                       help="wall: seconds that pass; cpu: the processors' time, on a machine that is not idle (wall)")
    found.add_argument('--json', metavar='FILE', help='write the figures there')
    found.add_argument('--markdown', metavar='FILE', help='write the table there')
    return found


def timing(args: argparse.Namespace) -> dict:
    """The arguments of ``time_in_turns`` that the command line decides."""
    return dict(rounds=args.rounds, clock=CLOCKS[args.clock])


def finished(run: Callable[[], object], device: str) -> Callable[[], None]:
    """``run``, and wait for the device."""
    def wait() -> None:
        run()
        if device == 'cuda':
            torch.cuda.synchronize()
    return wait


def finish(table: RatioTable, args: argparse.Namespace) -> int:
    """Print the table and write the files that were asked for; return the exit code."""
    print(table.text())
    table.write(json_file=args.json, markdown_file=args.markdown)
    return 0
