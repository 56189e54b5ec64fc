"""Nested values as readable Python source."""
import keyword
import math
from typing import Any

from .secret import MASK, SECRET_KEYS, Secret

_WIDTH = 110
_KEYWORDS = frozenset(keyword.kwlist)


def config_text(values: dict[str, Any]) -> str:
    """Return ``values`` as a config file: one assignment per key, sorted, dicts as ``dict(...)`` calls.

    What Python source cannot hold (functions, objects) becomes a string with its qualified name;
    values of secret keys become ``'***'``.
    """
    lines = []
    for key, value in sorted(values.items(), key=lambda item: str(item[0])):
        lines.append(f'{key} = {_format(_masked(key, value), indent=0, room=_WIDTH - len(str(key)) - 3)}')
    return '\n'.join(lines) + '\n'


def _masked(key: Any, value: Any) -> Any:
    return MASK if key in SECRET_KEYS and value is not None else value


def _format(value: Any, *, indent: int, room: int) -> str:
    """Source of ``value``; it is broken over lines indented by 4 more when it is longer than ``room``."""
    flat = _flat(value)
    if len(flat) <= room or not isinstance(value, (dict, list, tuple)) or not value:
        return flat
    inner = indent + 4
    margin, rows = ' ' * inner, []
    if isinstance(value, dict):
        opening, closing = _brackets(value)
        for key, item in value.items():
            head = _head(value, key)
            rows.append(f'{margin}{head}{_format(_masked(key, item), indent=inner, room=_WIDTH - inner - len(head))},')
    else:
        opening, closing = ('[', ']') if isinstance(value, list) else ('(', ')')
        rows = [f'{margin}{_format(item, indent=inner, room=_WIDTH - inner)},' for item in value]
    return '\n'.join([opening, *rows, ' ' * indent + closing])


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        opening, closing = _brackets(value)
        items = (_head(value, key) + _flat(_masked(key, item)) for key, item in value.items())
        return opening + ', '.join(items) + closing
    if isinstance(value, tuple):
        return '(' + ', '.join(_flat(item) for item in value) + (',)' if len(value) == 1 else ')')
    if isinstance(value, list):
        return '[' + ', '.join(_flat(item) for item in value) + ']'
    if isinstance(value, float) and not math.isfinite(value):
        return "float('nan')" if math.isnan(value) else ('1e999' if value > 0 else '-1e999')
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return repr(value)
    if isinstance(value, (set, frozenset)):
        return f'{{{", ".join(sorted(_flat(item) for item in value))}}}' if value else 'set()'
    return repr(MASK if isinstance(value, Secret) else _name_of(value))


def _name_of(value: Any) -> str:
    """A dotted import path where there is one, which MMEngine's registries understand as a type."""
    module, name = getattr(value, '__module__', None), getattr(value, '__qualname__', None)
    return f'{module}.{name}' if module and name else str(value)


def _is_call(value: dict) -> bool:
    return all(isinstance(key, str) and key.isidentifier() for key in value) and not _KEYWORDS.intersection(value)


def _brackets(value: dict) -> tuple[str, str]:
    return ('dict(', ')') if _is_call(value) else ('{', '}')


def _head(value: dict, key: Any) -> str:
    return f'{key}=' if _is_call(value) else f'{key!r}: '



