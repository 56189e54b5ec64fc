"""``maskforge confusion-matrix CFG``."""
import sys
from pathlib import Path

from .errors import run_verb
from .function_arguments import function_values
from .function_verb import function_parser
from .lazy_function import LazyFunction


def main(argv: list[str] | None = None) -> int:
    """Match, draw and write; return the exit code."""
    run = LazyFunction('maskforge.analysis.confusion_matrix', 'run')

    def action(args) -> int:
        values = function_values(args, run)
        run(**values, options=args.cfg_options)
        print(f'{Path(args.output_dir) / "confusion_matrix.png"} written')
        return 0
    return run_verb(function_parser('maskforge confusion-matrix', run), action, argv)


if __name__ == '__main__':
    sys.exit(main())
