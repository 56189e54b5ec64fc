"""Any file, encrypted, decrypted, or given another key, whatever it holds."""
import os
import shutil
from pathlib import Path

from maskforge.formats.atomic_file import write_atomically

from .encrypted_file import encrypted, open_decrypted


def reencrypt(path_in: str | os.PathLike, path_out: str | os.PathLike, *, key: bytes | None) -> Path:
    """Write the content of ``path_in`` to ``path_out``, encrypted with ``key``; None writes it as it is.

    An encrypted ``path_in`` is read with the key in effect. Both paths may be the same. Memory: a chunk.

    Returns:
        ``path_out``.

    Raises:
        FileNotFoundError: ``path_in`` is no file.
        ValueError: it is encrypted, and the key is missing or another one, or it was altered.
    """
    if not Path(path_in).is_file():
        raise FileNotFoundError(f'{path_in} is no file.')
    with open_decrypted(path_in) as source:
        return write_atomically(path_out, encrypted(lambda stream: shutil.copyfileobj(source, stream, 1 << 20), key))
