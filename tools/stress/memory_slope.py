"""Trains 10,000 iterations and prints how the memory of the main process and of the loader workers develops.

    python tools/stress/memory_slope.py --iterations 10000

The exit code is 1 if a process grows by more than 2 % after the warm-up. Linux only.
"""
import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from maskforge.analysis import stress_memory

LIMIT = 0.02


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--iterations', type=int, default=10_000)
    parser.add_argument('--config', default=str(Path(__file__).parent / 'configs' / 'many_iterations.py'))
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix='maskforge_stress_') as folder:
        slopes = stress_memory.run(args.config, iterations=args.iterations, work_dir=folder,
                                   options=tuple(args.cfg_options))
    print(f'{args.iterations} iterations of {Path(args.config).stem}, resident memory after a warm-up of a fifth')
    print(stress_memory.table(slopes))
    return int(max(slope.change for slope in slopes) > LIMIT)


if __name__ == '__main__':
    sys.exit(main())
