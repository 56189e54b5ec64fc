"""Values of a config that no text of it may show."""
import copy
from collections.abc import Sequence
from typing import Any

from .keys import FRAMEWORK_KEYS

MASK = '***'
SECRET_KEYS = ('encryption_key',)


class Secret:
    """Holds a value whose text is ``'***'``, so that logs, dumps and error messages show nothing else."""

    __slots__ = ('_value',)

    def __init__(self, value: Any) -> None:
        self._value = value

    def reveal(self) -> Any:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return f"'{MASK}'"

    def __str__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(MASK)


def hide_secrets(values: dict[str, Any]) -> dict[str, Any]:
    """Return a copy with the secret top-level keys, and variables that hold the same, as :class:`Secret`.

    Without secrets the dict itself is returned; None is no secret.
    """
    secrets = [values[key] for key in SECRET_KEYS if values.get(key) is not None]
    secrets = [value.reveal() if isinstance(value, Secret) else value for value in secrets]
    if not secrets:
        return values
    hidden = copy.copy(values)
    for key, value in dict.items(values):
        is_variable = key not in FRAMEWORK_KEYS and isinstance(value, str) and value in secrets
        if is_variable or (key in SECRET_KEYS and value is not None):
            hidden[key] = value if isinstance(value, Secret) else Secret(value)
    return hidden


def refuse_secret_options(options: Sequence[str]) -> None:
    """Refuse secrets that were typed on a command line, in ``key=value`` strings.

    Raises:
        ValueError: a secret is among the options; its value is not shown.
    """
    for option in options:
        key = option.partition('=')[0].strip()
        if key in SECRET_KEYS:
            raise ValueError(f'{key} cannot be given among the options of a command line: every user of the machine '
                             f'sees it in the list of processes. Give --key-file FILE or the environment variable '
                             f'MASKFORGE_KEY, or write it into the config file.')
