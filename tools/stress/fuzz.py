"""Spoils annotation files, configs and checkpoints, and checks that each is read or refused with file and record.

    python tools/stress/fuzz.py --examples 100     so many mutations of each of the kinds of files

It runs the tests of tests/fuzz, which take a few fixed mutations by default, with new random ones.
"""
import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Become pytest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--examples', type=int, default=100, help='mutations of each kind of file')
    args, more = parser.parse_known_args()
    command = [sys.executable, '-m', 'pytest', str(ROOT / 'tests' / 'fuzz'), '--rootdir', str(ROOT), '-v', *more]
    os.chdir(ROOT)
    os.execve(sys.executable, command, dict(os.environ, MASKFORGE_FUZZ_EXAMPLES=str(args.examples)))


if __name__ == '__main__':
    main()
