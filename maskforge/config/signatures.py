"""Which arguments a registered class or function takes."""
import inspect
from collections.abc import Callable
from dataclasses import dataclass

_KNOWN_PACKAGES = ('maskforge', 'mmengine', 'mmcv', 'torch')


@dataclass(frozen=True)
class Signature:
    """Arguments of a class.

    Attributes:
        names: every argument that is known by name.
        required: those without a default.
        is_open: whether others may be taken too, by ``**kwargs`` that go somewhere unknown.
    """

    names: frozenset[str]
    required: frozenset[str]
    is_open: bool


def signature_of(target: Callable) -> Signature:
    """Read the signature; ``**kwargs`` of a class are followed to the next ``__init__`` of its bases.

    They are not followed for a user's own classes, which may take any key out of ``kwargs``.
    """
    names: dict[str, bool] = {}
    for function in _initialisers(target):
        parameters = _parameters(function)
        if parameters is None:
            return Signature(frozenset(names), frozenset(), True)
        for name, parameter in parameters.items():
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                names.setdefault(name, parameter.default is parameter.empty)
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
            return Signature(frozenset(names), frozenset(name for name, needed in names.items() if needed), False)
    return Signature(frozenset(names), frozenset(name for name, needed in names.items() if needed), True)


def _initialisers(target: Callable) -> list[Callable]:
    if not inspect.isclass(target):
        return [target]
    own = [vars(cls)['__init__'] for cls in target.__mro__ if '__init__' in vars(cls) and cls is not object]
    if not own:
        return [_takes_nothing]
    known = target.__module__.split('.')[0] in _KNOWN_PACKAGES
    return own if known else own[:1]


def _takes_nothing(self) -> None:
    """Stands for ``object.__init__``."""


def _parameters(function: Callable) -> dict[str, inspect.Parameter] | None:
    try:
        parameters = dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None
    parameters.pop('self', None)
    return parameters
