"""``maskforge draw-video VIDEO MASKS OUTPUT``."""
import sys

from .function_verb import run_function
from .lazy_function import LazyFunction


def main(argv: list[str] | None = None) -> int:
    """Draw; return the exit code."""
    draw = LazyFunction('maskforge.analysis.draw_video', 'run')

    def show(path) -> None:
        print(f'{path} written')
    return run_function('maskforge draw-video', draw, argv, show=show)


if __name__ == '__main__':
    sys.exit(main())
