"""``maskforge benchmark CFG``."""
import sys

from .function_verb import run_function


def main(argv: list[str] | None = None) -> int:
    """Measure; return the exit code."""
    from maskforge.analysis import benchmark
    return run_function('maskforge benchmark', benchmark.run, argv, leave_out=('report',), show=lambda result: None)


if __name__ == '__main__':
    sys.exit(main())
