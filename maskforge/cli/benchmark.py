"""``maskforge benchmark CFG``."""
import sys

from .function_verb import run_function
from .lazy_function import LazyFunction


def main(argv: list[str] | None = None) -> int:
    """Measure; return the exit code."""
    run = LazyFunction('maskforge.analysis.benchmark', 'run')
    return run_function('maskforge benchmark', run, argv, leave_out=('report',), show=lambda result: None)


if __name__ == '__main__':
    sys.exit(main())
