"""Interrupts a small training again and again, resumes it, and compares its end with an unbroken training's.

    python tools/stress/kill_resume.py --kills 30 [--processes 2]     both kinds of training loops; Linux only
"""
import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from maskforge.analysis import stress_resume
from maskforge.cli.main import main as maskforge

CONFIGS, LOOPS = Path(__file__).parent / 'configs', ['by_epoch', 'by_iteration']


def main() -> int:
    """Print the reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--kills', type=int, default=30, help='interruptions of each loop')
    parser.add_argument('--processes', type=int, default=1)
    parser.add_argument('--loop', choices=LOOPS, nargs='+', default=LOOPS)
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    parser.add_argument('--fork', action='store_true', help='start trainings by forking: faster, one process only')
    parser.add_argument('--work-dir', type=Path, help='keep the runs and their logs here')
    args, options = parser.parse_known_args()
    folder = args.work_dir or Path(tempfile.mkdtemp(prefix='maskforge_stress_'))
    exact, forked = True, maskforge if args.fork else None
    for loop in args.loop:
        report = stress_resume.run(CONFIGS / f'{loop}.py', kills=args.kills, processes=args.processes, seed=args.seed,
                                   work_dir=folder / loop, forked=forked, options=options)
        print(report.text(), flush=True)
        exact = exact and report.exact
    return int(not exact)


if __name__ == '__main__':
    sys.exit(main())
