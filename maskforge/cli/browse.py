"""``maskforge browse CFG``."""
import sys
from pathlib import Path

from .function_verb import run_function
from .lazy_function import LazyFunction


def main(argv: list[str] | None = None) -> int:
    """Write the page; return the exit code."""
    return run_function('maskforge browse', LazyFunction('maskforge.analysis.browse', 'run'), argv, show=_show)


def _show(page: Path) -> None:
    print(f'{page} written: open it in a browser')


if __name__ == '__main__':
    sys.exit(main())
