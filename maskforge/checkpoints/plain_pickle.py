"""Checkpoints that are plain pickles rather than files of ``torch.save``: Detectron2's model zoo.

Their weights are NumPy arrays, or tensors where a converter pickled them as they were. Nothing in them is run: names
resolve as in :mod:`~maskforge.checkpoints.foreign_globals`, and the bytes of tensors go through PyTorch's restricted
unpickler.
"""
import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from .foreign_globals import stand_in

SUFFIXES = ('.pkl', '.pickle')
# the number that torch.save of PyTorch before 1.6 puts first, as it is pickled
_TORCH_MAGIC = b'\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'


class RefusedNameError(ValueError):
    """A pickle wants a class or function that is not read; the message is its dotted name."""


def is_plain_pickle(path: Path, stream: BinaryIO) -> bool:
    """Whether the file is a pickle by its name, and not one of PyTorch's containers by its content."""
    if path.suffix not in SUFFIXES:
        return False
    start = stream.read(32)
    stream.seek(0)
    return not start.startswith(b'PK') and _TORCH_MAGIC not in start


def read_plain_pickle(stream: BinaryIO, device: str | torch.device = 'cpu') -> Any:
    """Return the content with arrays turned into tensors, all tensors on ``device``.

    Raises:
        RefusedNameError: it holds something else than numbers, text, containers, arrays and tensors.
        pickle.UnpicklingError, EOFError: it is torn.
    """
    # files of Python 2 hold bytes where Python 3 expects text
    return _as_tensors(_Unpickler(stream, encoding='latin1').load(), device)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        full = f'{module}.{name}'.replace('__builtin__.', 'builtins.')
        found = _ALLOWED.get(full) or stand_in(full)
        if found is None:
            raise RefusedNameError(full)
        return found

    def persistent_load(self, pid: Any) -> Any:
        raise RefusedNameError(f'a reference to something outside the file ({pid!r})')


def _encode(text: str, encoding: str = 'latin1') -> bytes:
    """How protocol 2 writes bytes; other codecs than latin1 are not needed for it."""
    return text.encode('latin1')


def _from_buffer(buffer: Any, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    """How protocol 5 writes arrays."""
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


def _storage(content: bytes) -> Any:
    return torch.load(io.BytesIO(content), weights_only=True)


_ALLOWED: dict[str, Callable] = {
    'collections.OrderedDict': OrderedDict, '_codecs.encode': _encode,
    'numpy.core.numeric._frombuffer': _from_buffer, 'numpy._core.numeric._frombuffer': _from_buffer,
    'torch._utils._rebuild_tensor_v2': torch._utils._rebuild_tensor_v2,
    'torch._utils._rebuild_parameter': torch._utils._rebuild_parameter,
    'torch.storage._load_from_bytes': _storage,
}


def _as_tensors(value: Any, device: str | torch.device) -> Any:
    if isinstance(value, dict):
        return {key: _as_tensors(item, device) for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.kind in 'fiub':
        # a copy: arrays from a buffer cannot be written to
        value = torch.from_numpy(np.array(value, order='C'))
    return value.detach().to(device) if isinstance(value, Tensor) else value
