"""Settings of a config as a dataclass."""
import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

Settings = TypeVar('Settings')


def read_settings(kind: type[Settings], values: 'Mapping[str, Any] | Settings | None', *, where: str) -> Settings:
    """Return ``kind(**values)``; settings that are one already stay, None is all defaults.

    Args:
        where: key of the config, for messages.

    Raises:
        ValueError: a setting that does not exist (with near names), or what ``kind`` refuses.
    """
    if isinstance(values, kind):
        return values
    values, allowed = dict(values or {}), [field.name for field in fields(kind)]
    for name in values:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, n=2, cutoff=0.5)
            hint = f'did you mean {" or ".join(near)}?' if near else f'allowed: {", ".join(allowed)}.'
            raise ValueError(f"{where} has no setting '{name}': {hint}")
    return kind(**values)
