"""``maskforge video-lists FOLDER OUTPUT``."""
import sys

from .function_verb import run_function
from .lazy_function import LazyFunction

_SKIPPED_SHOWN = 20


def main(argv: list[str] | None = None) -> int:
    """Divide and write; return the exit code."""
    write_lists = LazyFunction('maskforge.datasets.converters.video_lists', 'write_lists')

    def show(lists) -> None:
        for line in lists.skipped[:_SKIPPED_SHOWN]:
            print(f'left out: {line}', file=sys.stderr)
        print(lists)
    return run_function('maskforge video-lists', write_lists, argv, show=show)


if __name__ == '__main__':
    sys.exit(main())
