"""JSON files: reading with errors that name the file and the place, writing that never leaves half a file."""
import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine import fileio

from .atomic_file import write_atomically
from .text_file import decode_text, read_text_file, require_file

__all__ = ['garbage_collection_paused', 'parse_json', 'read_json', 'read_json_dict', 'require_file', 'write_json']


def read_json(path: str | Path, *, backend_args: dict | None = None) -> Any:
    """Return the content of a JSON file.

    Args:
        path: local path, or a URL that ``backend_args`` (MMEngine's file back ends) can read.

    Raises:
        FileNotFoundError: no such file; the message lists near names in the folder.
        ValueError: the text is no JSON; the message says where it stops and whether the file looks cut off.
    """
    text = _read_text(path, backend_args)
    with garbage_collection_paused():
        return parse_json(text, str(path))


def parse_json(text: str, place: str) -> Any:
    """Return the value that a JSON text stands for; ``place`` is the file (and line) in messages.

    Raises:
        ValueError: the text is no JSON.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        cut = not text[error.pos:].strip() or error.msg.startswith('Unterminated')
        hint = ('the file ends in the middle of a value, so it was cut off: copy or download it again'
                if cut else 'correct the text there or write the file again')
        raise ValueError(f'{place} is not valid JSON: {error.msg} at character {error.pos} of {len(text)} '
                         f'(line {error.lineno}, column {error.colno}); {hint}.') from None
    except RecursionError:
        raise ValueError(f'{place} is no JSON of annotations: values lie within values, thousands of levels '
                         'deep.') from None
    except ValueError as error:  # a number with thousands of digits
        raise ValueError(f'{place} is not usable JSON: {error}.') from None


@contextmanager
def garbage_collection_paused() -> Iterator[None]:
    """Spare the collector the millions of live objects that a large annotation file makes."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def read_json_dict(path: str | Path, *, backend_args: dict | None = None) -> dict:
    """Like :func:`read_json` for a file whose top level must be an object (``{...}``)."""
    data = read_json(path, backend_args=backend_args)
    if not isinstance(data, dict):
        raise ValueError(f'{path} holds a JSON {type(data).__name__} at its top level; an object {{...}} is needed.')
    return data


def write_json(data: Any, path: str | Path, *, indent: int | None = None) -> None:
    """Write ``data`` beside ``path`` and move it there at the end, so that no reader ever sees half a file."""
    try:
        content = json.dumps(data, indent=indent, ensure_ascii=False).encode('utf-8')
    except UnicodeEncodeError:  # half a character, which only an escape can stand for
        content = json.dumps(data, indent=indent).encode('ascii')
    write_atomically(path, content)


def _read_text(path: str | Path, backend_args: dict | None) -> str:
    if backend_args or '://' in str(path):
        return decode_text(fileio.get(str(path), backend_args=backend_args), path)
    return read_text_file(path)
