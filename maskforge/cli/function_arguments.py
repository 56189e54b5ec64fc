"""Command-line arguments made from a function's signature and docstring, so that the two cannot drift apart."""
import argparse
import inspect
import re
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_NUMBERS = (int, float)


def add_function_arguments(parser: argparse.ArgumentParser, function: Callable, *,
                           leave_out: Sequence[str] = ()) -> None:
    """Add one argument per parameter of ``function``.

    Parameters without a default become positional, the others ``--flags``: a bool is a switch (``--no-x`` where the
    default is True), a sequence takes several values. The help is the docstring's ``Args`` entry.
    """
    described = argument_help(function)
    for name, parameter in _parameters(function).items():
        if name in leave_out or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        kind, many = _kind(parameter)
        text = described.get(name, '').replace('%', '%%').replace('`', '')
        if parameter.default is parameter.empty:
            parser.add_argument(name, type=kind, help=text, **({'nargs': '+'} if many else {}))
        elif isinstance(parameter.default, bool):
            _add_switch(parser, name, parameter.default, text)
        else:
            shown = '' if parameter.default in (None, (), '') else f' (default: {_shown(parameter.default)})'
            parser.add_argument(f'--{name.replace("_", "-")}', type=kind, default=parameter.default, dest=name,
                                metavar=name.upper(), help=text + shown, **({'nargs': '+'} if many else {}))


def function_values(args: argparse.Namespace, function: Callable) -> dict[str, Any]:
    """The parsed values that belong to ``function``, by name."""
    return {name: getattr(args, name) for name in _parameters(function) if hasattr(args, name)}


def argument_help(function: Callable) -> dict[str, str]:
    """The ``Args`` section of a docstring as name -> text; ``a, b: text`` describes both."""
    found: dict[str, str] = {}
    section = re.search(r'Args:\n(.*?)(?:\n\s*\n|\Z)', inspect.getdoc(function) or '', re.DOTALL)
    names: list[str] = []
    for line in section.group(1).splitlines() if section else ():
        entry = re.match(r'    (\w[\w, *]*):\s*(.*)', line)
        if entry:
            names = [name.strip(' *') for name in entry.group(1).split(',')]
            found.update(dict.fromkeys(names, entry.group(2)))
        else:
            found.update({name: f'{found[name]} {line.strip()}' for name in names})
    return found


def _parameters(function: Callable) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function, eval_str=True).parameters)


def _kind(parameter: inspect.Parameter) -> tuple[Callable, bool]:
    """The type of one value, and whether there are several."""
    choices = _union(parameter.annotation)
    for choice in choices:
        origin = typing.get_origin(choice)
        if origin is not None and isinstance(origin, type) and issubclass(origin, Sequence):
            inner = [item for item in typing.get_args(choice) if item is not Ellipsis]
            return _single(_union(inner[0]) if inner else [str]), True
    if isinstance(parameter.default, (list, tuple)):
        return _single([type(item) for item in parameter.default[:1]]), True
    return _single(choices or [type(parameter.default)]), False


def _union(annotation: Any) -> list[Any]:
    if annotation is inspect.Parameter.empty:
        return []
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [item for item in typing.get_args(annotation) if item is not type(None)]
    return [annotation]


def _single(choices: Sequence[Any]) -> Callable:
    for kind in _NUMBERS:
        if kind in choices and str not in choices:
            return kind
    return Path if Path in choices and str not in choices else str


def _add_switch(parser: argparse.ArgumentParser, name: str, default: bool, text: str) -> None:
    flag = name.replace('_', '-')
    parser.add_argument(f'--no-{flag}' if default else f'--{flag}', dest=name, default=default,
                        help=f'turn off: {text}' if default else text,
                        action='store_false' if default else 'store_true')


def _shown(value: Any) -> str:
    return ' '.join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
