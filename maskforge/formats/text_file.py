"""Text files of users: read as UTF-8, or refused by name."""
import difflib
from pathlib import Path


def read_text_file(path: str | Path, what: str = 'file') -> str:
    """Return the text of a file.

    Args:
        what: the kind of file, for messages.

    Raises:
        FileNotFoundError: see :func:`require_file`.
        ValueError: it is not UTF-8 text; the message says at which byte.
    """
    return decode_text(require_file(path, what).read_bytes(), path)


def decode_text(content: bytes, path: str | Path) -> str:
    """Decode the content of the file ``path``; a byte order mark at its beginning is left out.

    Raises:
        ValueError: it is not UTF-8 text.
    """
    try:
        text = content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not UTF-8 text (byte {error.start} of {len(content)}): save it in that encoding, '
                         f'or copy it again if it is damaged.') from None
    return text.replace('\r\n', '\n').replace('\r', '\n')


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
