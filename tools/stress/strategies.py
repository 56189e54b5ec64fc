"""Trainings of all five families under every strategy, on CPU processes of this machine: a table of differences.

``python tools/stress/strategies.py --families mal sam2 --processes 2 4 --pairs "fsdp>ddp"``

Of each family a tiny model trains 20 iterations from one seed, without dropout. Printed is the largest difference of
any weight, and of any value of the optimizer's state, from DistributedDataParallel's; ``emulation`` is one process
that computes every rank's loss in turn and takes the mean of the gradients; ``a>b`` began under a and went on under b
from a's checkpoint. Values above 1 (running variances of raw pixels) are compared relatively. Exit code 1 if a
difference of weights is above the tolerance.
"""
import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tests' / 'support'))


def parser() -> argparse.ArgumentParser:
    """What is trained, and how."""
    from strategy_runs import FAMILIES
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--families', nargs='+', default=FAMILIES, choices=FAMILIES, metavar='NAME')
    parser.add_argument('--processes', nargs='+', type=int, default=[2, 4], metavar='N')
    parser.add_argument('--pairs', nargs='*', default=['fsdp>ddp', 'ddp>fsdp', 'ddp_sharded>fsdp'], metavar='A>B',
                        help='checkpoints written at half under A, continued under B')
    parser.add_argument('--tolerance', type=float, default=1e-5)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Train and print a row per run; return 1 if one is out of tolerance."""
    from mmengine.registry import init_default_scope
    from strategy_runs import compare
    args = parser().parse_args(argv)
    init_default_scope('maskforge')
    worst = 0.0
    print(f'{"family":<16} {"processes":>9}  {"run":<18} {"weights":>9} {"optimizer":>9}', flush=True)
    for family in args.families:
        for processes in args.processes:
            start = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                found = compare(family, processes, Path(folder), pairs=args.pairs)
            for run, (weights, state) in found.items():
                worst = max(worst, weights)
                shown = '' if run == 'emulation' else f'{state:9.1e}'
                print(f'{family:<16} {processes:>9}  {run:<18} {weights:9.1e} {shown:>9}', flush=True)
            print(f'{"":<16} {processes:>9}  ({time.monotonic() - start:.0f} s)', flush=True)
    print(f'largest difference of weights: {worst:.1e}, tolerance {args.tolerance:.0e}')
    return int(worst > args.tolerance)


if __name__ == '__main__':
    sys.exit(main())
