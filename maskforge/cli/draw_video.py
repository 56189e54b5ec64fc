"""``maskforge draw-video VIDEO MASKS OUTPUT``."""
import sys

from .function_verb import run_function


def main(argv: list[str] | None = None) -> int:
    """Draw; return the exit code."""
    from maskforge.analysis import draw_video

    def show(path) -> None:
        print(f'{path} written')
    return run_function('maskforge draw-video', draw_video.run, argv, show=show)


if __name__ == '__main__':
    sys.exit(main())
