"""Start-up: time of ``tools/train.py --help``, of ``import maskforge`` beyond torch, of the first model looked up.

    python tools/benchmarks/import_time.py --clock cpu

Every measurement is a fresh interpreter; on a machine that is not idle, take the processors' time. The exit code is 1
where a limit of the house is broken: 0.5 s for the help, 0.3 s for the import.
"""
import resource
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmark_arguments import finish, parser

from maskforge.analysis.ratio_table import RatioTable, compare_seconds, machine_line, time_in_turns

TRAIN = str(Path(__file__).resolve().parents[1] / 'train.py')
HELP, IMPORT, LOOK_UP = 'tools/train.py --help', 'import torch, maskforge', 'MODELS.get'
PYTHON, TORCH = 'python -c pass', 'import torch'
COMMANDS = {HELP: [TRAIN, '--help'], PYTHON: ['-c', 'pass'], IMPORT: ['-c', IMPORT], TORCH: ['-c', TORCH],
            LOOK_UP: ['-c', 'from maskforge.registry import MODELS; MODELS.get("MaskRCNN")']}
#: seconds that ours may take beyond the peer
LIMITS = {HELP: 0.5, IMPORT: 0.3}


def children_time() -> float:
    """Processor time of all processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(arguments: list[str]) -> None:
    """A fresh interpreter from its start to its end."""
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def main() -> int:
    """Measure and print."""
    args = parser(__doc__.splitlines()[0], rounds=7).parse_args()
    clock = children_time if args.clock == 'cpu' else time.perf_counter
    sides = {name: partial(run, arguments) for name, arguments in COMMANDS.items()}
    seconds = time_in_turns(sides, rounds=args.rounds, clock=clock)
    rows, broken = [], []
    for ours, peer in ((HELP, PYTHON), (IMPORT, TORCH), (LOOK_UP, TORCH)):
        row = compare_seconds(ours, seconds, ours=ours, peer=peer)
        limit = LIMITS.get(ours)
        note = f'{row.ours - row.peer:+.2f} s' + (f', {limit} s allowed' if limit else '')
        rows.append(replace(row, note=note))
        if limit and row.ours - row.peer > limit:
            broken.append(f'{ours} takes {row.ours - row.peer:.2f} s beyond {peer}; the house allows {limit} s')
    code = finish(RatioTable(f'Start-up ({args.clock} seconds)', machine_line(), rows), args)
    print('\n'.join(broken))
    return 1 if broken else code


if __name__ == '__main__':
    sys.exit(main())
