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
    names: set[str] = set()
    required: set[str] = set()
    for depth, function in enumerate(_initialisers(target)):
        parameters = _parameters(function)
        if parameters is None:
            break
        named = {name: item for name, item in parameters.items()
                 if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)}
        names.update(named)
        if depth == 0:  # what a base requires, the class itself may supply
            required = {name for name, item in named.items() if item.default is item.empty}
        if all(item.kind is not item.VAR_KEYWORD for item in parameters.values()):
            return Signature(frozenset(names), frozenset(required), False)
    return Signature(frozenset(names), frozenset(required), True)


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
