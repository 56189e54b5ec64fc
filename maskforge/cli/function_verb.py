"""A verb that is one function: arguments from its signature, its result printed."""
import argparse
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from .arguments import add_options
from .errors import run_verb
from .function_arguments import add_function_arguments, function_values


def function_parser(prog: str, function: Callable, *, leave_out: Sequence[str] = ()) -> argparse.ArgumentParser:
    """A parser for ``function``; its ``options`` parameter becomes ``--cfg-options``."""
    text = (function.__doc__ or '').split('\n\n')[0]
    parser = argparse.ArgumentParser(prog=prog, description=' '.join(text.split()).replace('%', '%%').replace('`', ''))
    add_function_arguments(parser, function, leave_out=('options', *leave_out))
    if 'options' in inspect.signature(function).parameters:
        add_options(parser)
    return parser


def run_function(prog: str, function: Callable, argv: list[str] | None, *, leave_out: Sequence[str] = (),
                 show: Callable[[Any], int | None] = print) -> int:
    """Parse ``argv``, call ``function`` and hand its result to ``show``, which may return an exit code."""
    def action(args: argparse.Namespace) -> int | None:
        values = function_values(args, function)
        if hasattr(args, 'cfg_options'):
            values['options'] = args.cfg_options
        return show(function(**values))
    return run_verb(function_parser(prog, function, leave_out=leave_out), action, argv)
