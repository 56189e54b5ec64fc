"""Writing a file so that no reader, and no crash, ever sees half of it."""
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: str | os.PathLike, content: bytes | Callable[[BinaryIO], None]) -> Path:
    """Write a temporary file beside ``path`` (its folder is made), flush it to the disk, then rename it to ``path``.

    Whatever was at ``path`` stays whole until the rename; on any error (a full disk, a kill) it stays for good and the
    temporary file is removed.

    Args:
        path: the file.
        content: its bytes, or a function that writes them to the open file.

    Returns:
        ``path``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f'.{path.name}.', suffix='.tmp', dir=path.parent)
    try:
        with os.fdopen(handle, 'wb') as stream:
            stream.write(content) if isinstance(content, bytes) else content(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)
    return path


def _umask() -> int:
    # mkstemp makes files readable by the owner alone; what is shared through a folder must stay readable
    current = os.umask(0)
    os.umask(current)
    return current


def _sync_directory(folder: Path) -> None:
    """Make the rename itself durable, where the system lets folders be opened."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems refuse to sync folders
    finally:
        os.close(handle)
