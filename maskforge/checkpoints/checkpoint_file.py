"""Checkpoint files on the disk: written atomically, checked, read without running anything that they contain."""
import os
import pickletools
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from maskforge.formats.atomic_file import write_atomically

from .encrypted_file import check_encrypted, encrypted, is_encrypted, open_decrypted
from .encryption_key import current_key
from .foreign_globals import dtype_classes, stand_in
from .plain_pickle import RefusedNameError, is_plain_pickle, read_plain_pickle
from .remote import is_remote, local_copy

TRUST_VARIABLE = 'MASKFORGE_TRUST_CHECKPOINTS'

_ALLOWED_BY_TORCH = {'collections.OrderedDict', 'collections.Counter', '_codecs.encode', 'builtins.bytearray',
                     'builtins.set', 'builtins.complex'}


class UnsafeCheckpointError(ValueError):
    """The file would run code while it is read."""


def save_checkpoint(obj: Any, path: str | os.PathLike) -> Path:
    """Write ``obj`` with ``torch.save``: complete and on the disk under ``path``, or not there at all.

    The file is PyTorch's zip container, whose records carry CRC-32 sums: :func:`is_whole` recognises a torn one. Where
    an encryption key is set the container is encrypted, see :mod:`~maskforge.checkpoints.encrypted_file`.
    """
    return write_atomically(path, encrypted(lambda stream: torch.save(obj, stream), current_key()))


def is_whole(path: str | os.PathLike) -> bool:
    """Whether every record of the checkpoint is there and has its checksum (reads the whole file once).

    Files of PyTorch before 1.6 carry no sums; they count as whole if they do not begin with zeros. Of safetensors the
    length is compared with what the head says. Encrypted files need their key; without it their length is looked at.

    Raises:
        WrongKeyError: the file is encrypted, and not with the key that is set.
    """
    path = Path(path)
    if path.is_dir():
        from .sharded_checkpoint import is_whole_folder  # its files are checkpoints of this module
        return is_whole_folder(path)
    if not path.is_file() or path.stat().st_size == 0:
        return False
    if is_encrypted(path):
        return check_encrypted(path)
    with open(path, 'rb') as stream:
        start = stream.read(64)
        if path.suffix == '.safetensors':
            return _has_its_length(path)
        # a file that lost its first block to a crash is all zeros there
        return _has_its_sums(stream) if start.startswith(b'PK') else any(start)


def _has_its_sums(stream: BinaryIO) -> bool:
    try:
        with zipfile.ZipFile(stream) as archive:
            # torch.serialization.set_crc32_options(False) writes zeros
            without_sums = not any(entry.CRC for entry in archive.infolist())
            return without_sums or archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError):
        return False


def _has_its_length(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open
    try:
        with safe_open(path, 'pt'):
            return True
    except (SafetensorError, OSError):
        return False


def load_checkpoint(path: str | os.PathLike, map_location: Any = 'cpu', *, trust: bool = False) -> dict:
    """Read a checkpoint from a file, a URL or a ``torchvision://`` name; nothing in it is run.

    The checksums of the whole file are verified before anything of it is used. Encrypted files are recognised, and
    decrypted chunk by chunk.

    Args:
        path: local path, ``http(s)://`` (kept in a cache; the sha256 in the name is checked) or
            ``torchvision://resnet50``. ``.safetensors`` files give a plain dict of tensors; the arrays in
            Detectron2's ``.pkl`` files become tensors.
        map_location: as in ``torch.load``.
        trust: unpickle whatever the file contains. Only for files of your own; the environment variable
            ``MASKFORGE_TRUST_CHECKPOINTS=1`` does the same.

    Raises:
        FileNotFoundError: no such file, or a download failed and no copy is in the cache.
        ValueError: the file is torn, is no checkpoint, or wants to run code; it is encrypted and the key is missing or
            another one.
    """
    source = str(path)
    path = local_copy(source) if is_remote(source) else Path(source).expanduser()
    if path.is_dir():
        from .sharded_checkpoint import load_sharded
        return load_sharded(path, map_location)
    if not path.is_file():
        raise FileNotFoundError(f'checkpoint {path} does not exist{_neighbours(path)}.')
    with open_decrypted(path) as stream:
        if path.suffix == '.safetensors':
            return _read_safetensors(path, stream, map_location)
        if is_plain_pickle(path, stream):
            return _read_pickle(path, stream, map_location)
        if trust or os.environ.get(TRUST_VARIABLE) == '1':
            return torch.load(stream, map_location=map_location, weights_only=False)
        return _read_restricted(path, stream, map_location)


def _read_restricted(path: Path, stream: BinaryIO, map_location: Any) -> dict:
    if _is_zip(stream) and not _has_its_sums(stream):
        raise ValueError(_torn(path))
    stream.seek(0)
    try:
        allowed = _stand_ins(path, _class_names(stream))
        stream.seek(0)
        with safe_globals(allowed):
            return torch.load(stream, map_location=map_location, weights_only=True)
    except UnsafeCheckpointError:
        raise
    except Exception as error:
        if not is_whole(path):
            raise ValueError(_torn(path)) from error
        first_line = str(error).strip().split('\n')[0]
        raise ValueError(f'{path} could not be read as a checkpoint: {first_line}') from error


def _torn(path: Path) -> str:
    return (f'checkpoint {path} is torn: it does not have the content that its format promises. The run that wrote it '
            f'was interrupted, the copy is incomplete, or the disk lost a part. Use an older checkpoint of the folder, '
            f'or copy the file again.')


def _is_zip(stream: BinaryIO) -> bool:
    stream.seek(0)
    return stream.read(2) == b'PK'


def _read_pickle(path: Path, stream: BinaryIO, map_location: Any) -> dict:
    try:
        return read_plain_pickle(stream, _device(map_location))
    except RefusedNameError as error:
        raise UnsafeCheckpointError(f'checkpoint {path} is refused: besides arrays and tensors it contains {error}, '
                                    f'and reading that could run code.') from error
    except Exception as error:
        raise ValueError(f'checkpoint {path} is torn or no pickle of weights: {error}') from error


def _class_names(stream: BinaryIO) -> list[str]:
    """Dotted names of all classes and functions in the file that PyTorch does not allow by itself."""
    is_zip = _is_zip(stream)
    stream.seek(0)
    if is_zip:
        return get_unsafe_globals_in_checkpoint(stream)
    # the format before PyTorch 1.6: magic number, protocol, system, content, keys; pickles in a row, then raw data
    names = set()
    for _ in range(5):
        names.update(argument.replace(' ', '.').replace('__builtin__.', 'builtins.')  # Python 2's name
                     for operation, argument, _ in pickletools.genops(stream) if operation.name == 'GLOBAL')
    return sorted(name for name in names - _ALLOWED_BY_TORCH if not name.startswith('torch.'))


def _stand_ins(path: Path, names: list[str]) -> list[tuple[Any, str]]:
    """Harmless replacements for the classes in the file; an unknown one is an error that names it."""
    resolved = {name: stand_in(name) for name in names}
    refused = sorted(name for name, found in resolved.items() if found is None)
    if refused:
        raise UnsafeCheckpointError(
            f'checkpoint {path} is refused: besides tensors it contains {", ".join(refused)}, and reading that could '
            f'run code. If the file is your own, set {TRUST_VARIABLE}=1 (or pass trust=True) and save the weights '
            f'anew.')
    numpy_types = dtype_classes() if any(name.startswith('numpy') for name in names) else []
    return [*((found, name) for name, found in resolved.items()), *numpy_types]


def _read_safetensors(path: Path, stream: BinaryIO, map_location: Any) -> dict:
    from safetensors.torch import load, load_file
    try:
        # a file is mapped into memory, what is decrypted cannot be
        tensors = load(stream.read()) if is_encrypted(path) else load_file(path)
    except Exception as error:
        raise ValueError(f'{path} is torn or no safetensors file: {error}') from error
    device = _device(map_location)
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def _device(map_location: Any) -> str | torch.device:
    """Where whole files are put; the other forms that ``torch.load`` knows map devices, and these files have none."""
    return map_location if isinstance(map_location, (str, torch.device)) else 'cpu'


def _neighbours(path: Path) -> str:
    if not path.parent.is_dir():
        return f': the folder {path.parent} is not there either'
    names = sorted(p.name for p in path.parent.iterdir() if p.suffix in ('.pth', '.pt', '.safetensors'))
    return f'; in its folder are {", ".join(names[:8])}' if names else ', and its folder holds no checkpoint'
