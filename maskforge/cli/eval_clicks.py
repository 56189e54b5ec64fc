"""``maskforge eval-clicks CONFIG --weights FILE``."""
import sys

from .function_verb import run_function
from .lazy_function import LazyFunction


def main(argv: list[str] | None = None) -> int:
    """Click, follow, score; return the exit code."""
    run = LazyFunction('maskforge.inference.interactive_vos', 'run')
    return run_function('maskforge eval-clicks', run, argv, show=_show)


def _show(scores: dict[str, float]) -> None:
    rounds = sum(name.startswith('J&F_') for name in scores)
    print('round    J&F      J      F')
    for number in range(1, rounds + 1):
        print(f'{number:5d}' + ''.join(f'{scores[f"{name}_{number}"]:7.2f}' for name in ('J&F', 'J', 'F')))


if __name__ == '__main__':
    sys.exit(main())
