"""``maskforge analyze-logs TASK LOG...``: curves, or times."""
import argparse
import sys
from collections.abc import Callable

from .errors import run_verb
from .function_arguments import add_function_arguments, function_values
from .lazy_function import LazyFunction


def parser(tasks: dict[str, Callable]) -> argparse.ArgumentParser:
    """One sub-command per task."""
    parser = argparse.ArgumentParser(prog='maskforge analyze-logs', description='Curves and times of finished or '
                                     'running trainings.')
    commands = parser.add_subparsers(dest='task', required=True)
    for name, function in tasks.items():
        text = ' '.join((function.__doc__ or '').split('\n\n')[0].split())
        add_function_arguments(commands.add_parser(name, help=text, description=text), function)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Plot or sum up; return the exit code."""
    tasks = {name: LazyFunction('maskforge.analysis.logs', name) for name in ('plot_curve', 'cal_train_time')}

    def action(args: argparse.Namespace) -> int:
        result = tasks[args.task](**function_values(args, tasks[args.task]))
        if args.task == 'plot_curve':
            print(f'{result} written')
        else:
            print('\n'.join('  '.join(f'{key}: {_rounded(value)}' for key, value in row.items()) for row in result))
        return 0
    return run_verb(parser(tasks), action, argv)


def _rounded(value: object) -> object:
    return f'{value:.4f}' if isinstance(value, float) else value


if __name__ == '__main__':
    sys.exit(main())
