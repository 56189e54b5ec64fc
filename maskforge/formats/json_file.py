"""JSON files: reading with errors that name the file and the place, writing that never leaves half a file."""
import difflib
import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine import fileio

from .atomic_file import write_atomically


def read_json(path: str | Path, *, backend_args: dict | None = None) -> Any:
    """Return the content of a JSON file.

    Args:
        path: local path, or a URL that ``backend_args`` (MMEngine's file back ends) can read.

    Raises:
        FileNotFoundError: no such file; the message lists near names in the folder.
        ValueError: the text is no JSON; the message says where it stops and whether the file looks cut off.
    """
    text = _read_text(path, backend_args)
    try:
        with garbage_collection_paused():
            return json.loads(text)
    except json.JSONDecodeError as error:
        cut = not text[error.pos:].strip() or error.msg.startswith('Unterminated')
        hint = ('the file ends in the middle of a value, so it was cut off: copy or download it again'
                if cut else 'correct the text there or write the file again')
        raise ValueError(f'{path} is not valid JSON: {error.msg} at character {error.pos} of {len(text)} '
                         f'(line {error.lineno}, column {error.colno}); {hint}.') from None


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
    write_atomically(path, json.dumps(data, indent=indent, ensure_ascii=False).encode('utf-8'))


def require_file(path: str | Path, what: str = 'file') -> Path:
    """Return ``path`` if it is a file.

    Raises:
        FileNotFoundError: it is not; the message names the folder that is missing or the near names in it.
    """
    path = Path(path)
    if path.is_file():
        return path
    if path.is_dir():
        raise FileNotFoundError(f'{path} is a folder; a {what} is needed.')
    folder = path.parent
    if not folder.is_dir():
        raise FileNotFoundError(f'{what} {path} does not exist, nor does its folder {folder} '
                                f'(working folder: {Path.cwd()}).')
    near = difflib.get_close_matches(path.name, sorted(entry.name for entry in folder.iterdir()), n=3, cutoff=0.5)
    hint = f'did you mean {" or ".join(near)}?' if near else f'nothing in {folder} has a near name.'
    raise FileNotFoundError(f'{what} {path} does not exist; {hint}')


def _read_text(path: str | Path, backend_args: dict | None) -> str:
    if backend_args or '://' in str(path):
        return fileio.get_text(str(path), backend_args=backend_args)
    try:
        return require_file(path).read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not UTF-8 text (byte {error.start}); JSON files must be.') from None
