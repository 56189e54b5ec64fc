"""A function that is imported when it is called: its arguments and their help are known before, from its source."""
import ast
import builtins
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parents[1]
# what a signature may name; anything else cannot be typed on a command line
_NAMES = dict(Callable=Callable, Mapping=Mapping, Path=Path, Sequence=Sequence)


class LazyFunction:
    """``name`` of one of our modules, for help that answers before torch could be imported.

    ``inspect.signature`` and ``inspect.getdoc`` give what they would give for the function itself, but for types of
    parameters that are not Python's own: those become ``object``.

    Args:
        module: full name, such as ``'maskforge.analysis.browse'``.
        name: of a function whose defaults are literals or Python's own.
    """

    def __init__(self, module: str, name: str) -> None:
        self.module, self.__name__ = module, name
        file = _PACKAGE.joinpath(*module.split('.')[1:]).with_suffix('.py')
        [definition] = [node for node in ast.parse(file.read_text(encoding='utf-8')).body
                        if isinstance(node, ast.FunctionDef) and node.name == name]
        self.__doc__ = ast.get_docstring(definition)
        self.__signature__ = inspect.Signature(_parameters(definition.args))

    def __call__(self, *args, **kwargs) -> Any:
        """Import the function and call it."""
        return getattr(importlib.import_module(self.module), self.__name__)(*args, **kwargs)


def _parameters(arguments: ast.arguments) -> list[inspect.Parameter]:
    first = [*arguments.posonlyargs, *arguments.args]
    defaults = [*[None] * (len(first) - len(arguments.defaults)), *arguments.defaults, *arguments.kw_defaults]
    kinds = [inspect.Parameter.POSITIONAL_OR_KEYWORD] * len(first)
    kinds += [inspect.Parameter.KEYWORD_ONLY] * len(arguments.kwonlyargs)
    return [inspect.Parameter(argument.arg, kind, annotation=_type(argument.annotation),
                              default=inspect.Parameter.empty if default is None else _value(default))
            for argument, kind, default in zip([*first, *arguments.kwonlyargs], kinds, defaults)]


def _type(annotation: ast.expr | None) -> Any:
    if annotation is None:
        return inspect.Parameter.empty
    used = [node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)]
    return _value(annotation, **dict.fromkeys(used, object))


def _value(expression: ast.expr, **unknown: Any) -> Any:
    return eval(ast.unparse(expression), {**unknown, **vars(builtins), **_NAMES})
