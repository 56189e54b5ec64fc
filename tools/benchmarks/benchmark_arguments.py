"""What all benchmarks share: arguments, the measurement of two sides, and the end."""
import argparse
import time
from collections.abc import Callable, Mapping

import torch
from operator_shares import print_shares

from maskforge.analysis.peak_memory import peak_memory
from maskforge.analysis.ratio_table import Comparison, RatioTable, compare_memory, compare_seconds, time_in_turns

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


def sides_parser(description: str, *, rounds: int) -> argparse.ArgumentParser:
    """A :func:`parser` with what :func:`compare_sides` reads beside: ``--profile``."""
    found = parser(description, rounds=rounds)
    found.add_argument('--profile', action='store_true', help='print where the time of both sides goes, too')
    return found


def image_parser(description: str, *, sizes: str, divisor: int = 1) -> argparse.ArgumentParser:
    """A :func:`sides_parser` with ``--size`` (several times), ``--batch`` and ``--objects``.

    Args:
        sizes: the default ones, for the help.
        divisor: what height and width must be multiples of.
    """
    found = sides_parser(description, rounds=5)
    multiples = f', multiples of {divisor}' if divisor > 1 else ''
    found.add_argument('--size', type=int, nargs=2, action='append', metavar=('H', 'W'),
                       help=f'image size{multiples}, may be given again ({sizes})')
    found.add_argument('--batch', type=int, default=1, help='images per step (1)')
    found.add_argument('--objects', type=int, default=8, help='objects per image (8)')
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


def compare_sides(task: str, sides: Mapping[str, Callable[[], object]], args: argparse.Namespace, *, note: str,
                  warmup: int = 1, per: int = 1) -> list[Comparison]:
    """Measure time and peak memory of ours and of the peer, in turns; a row of each.

    Args:
        sides: by name, ours first.
        note: how far the outputs were found to agree.
        per: parts of one call, such as frames, by which seconds are divided.
    """
    ours, peer = sides
    seconds = time_in_turns(sides, warmup=warmup, **timing(args))
    seconds = {name: [value / per for value in values] for name, values in seconds.items()}
    memory = {name: peak_memory(run) for name, run in sides.items()}
    if args.profile:
        print_shares(task, sides)
    names = dict(ours=ours, peer=peer, note=note)
    return [compare_seconds(task, seconds, **names), compare_memory(f'peak memory, {task}', memory, **names)]


def finish(table: RatioTable, args: argparse.Namespace) -> int:
    """Print the table and write the files that were asked for; return the exit code."""
    print(table.text())
    table.write(json_file=args.json, markdown_file=args.markdown)
    return 0
