"""Which key files are encrypted and decrypted with.

The first of these that is set counts: what :func:`set_encryption_key` got (``--key-file``), the environment variable
``MASKFORGE_KEY``, ``encryption_key`` of the config. A key that is set encrypts what is written and decrypts what is
read; files that are not encrypted are read all the same.
"""
import os
import stat
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from maskforge.config import MASK, Secret

VARIABLE = 'MASKFORGE_KEY'
HOW = f'--key-file FILE, the environment variable {VARIABLE}, or encryption_key in the config'
#: where no config is read
HOW_HERE = f'--key-file FILE or the environment variable {VARIABLE}'
LONGEST_KEY = 65536

_given: bytes | None = None
_of_config: bytes | None = None


class MissingKeyError(ValueError):
    """A file is encrypted, or is to be, and there is no key."""


def current_key() -> bytes | None:
    """The key in effect, None for none.

    Raises:
        ValueError: the environment variable is set, but empty.
    """
    if _given is not None:
        return _given
    if VARIABLE in os.environ:
        return as_key(os.environ[VARIABLE], f'the environment variable {VARIABLE}')
    return _of_config


def set_encryption_key(key: str | bytes | None) -> None:
    """Use ``key`` in this process from now on, before the environment and configs; None leaves it to them.

    Raises:
        ValueError: the key is empty.
    """
    global _given
    _given = None if key is None else as_key(key, 'the encryption key')


def adopt_config_key(value: Any, *, writes: bool = False) -> None:
    """Take ``encryption_key`` of a config (None for a config without); a key from elsewhere goes before it.

    Args:
        value: a :class:`~maskforge.config.Secret`, a text or None.
        writes: the run writes files: a key that its config only masks must come from elsewhere.

    Raises:
        ValueError: no text, empty, or masked while no other key is there.
    """
    global _of_config
    before, value = _of_config, value.reveal() if isinstance(value, Secret) else value
    if value is not None and not isinstance(value, str):
        raise ValueError(f'encryption_key of the config must be a text, got a value of type {type(value).__name__}.')
    _of_config = None if value in (None, MASK) else as_key(value, 'encryption_key of the config')
    if value == MASK and writes and current_key() is None:
        raise MissingKeyError(f"encryption_key of the config is '{MASK}', as dumped configs show keys, and what is "
                              f'written would not be encrypted. Give the key by --key-file FILE or {VARIABLE}, or set '
                              f'encryption_key to None.')
    if _of_config not in (None, before) and current_key() != _of_config:
        print_log(f'encryption_key of the config is not used: another key is given by '
                  f'{VARIABLE if _given is None else "--key-file"}', 'current', 30)


def read_key_file(path: str | os.PathLike) -> bytes:
    """Return the key in a file: its bytes without line ends at its end.

    A file that others than its owner may read or write is warned of.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is empty, or too long for a key.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f'key file {path} does not exist.')
    with open(path, 'rb') as stream:
        mode = os.fstat(stream.fileno()).st_mode
        content = stream.read(LONGEST_KEY + 1)
    if len(content) > LONGEST_KEY:
        raise ValueError(f'key file {path} has more than {LONGEST_KEY} bytes: is it another file than the key?')
    if os.name == 'posix' and stat.S_ISREG(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO):
        print_log(f'key file {path} is open to others than its owner (mode {stat.S_IMODE(mode):03o}): chmod 600 '
                  f'{path}', 'current', 30)
    return as_key(content.rstrip(b'\r\n'), f'key file {path}')


def as_key(key: str | bytes, name: str) -> bytes:
    """The bytes of a key.

    Raises:
        ValueError: there are none; ``name`` says where.
    """
    key = key.encode() if isinstance(key, str) else bytes(key)
    if not key:
        raise ValueError(f'{name} is empty: a key has at least one character. Leave it out to work without '
                         f'encryption.')
    return key
