"""Weights alone as safetensors."""
import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from maskforge.formats.atomic_file import write_atomically

from .encrypted_file import encrypted
from .encryption_key import current_key


def save_weights(state_dict: Mapping[str, Tensor], path: str | os.PathLike) -> Path:
    """Write the tensors as a safetensors file, atomically; encrypted where a key is set."""
    content = safetensors_bytes(state_dict)
    return write_atomically(path, encrypted(lambda stream: stream.write(content), current_key()))


def safetensors_bytes(state_dict: Mapping[str, Tensor]) -> bytes:
    """The content of a safetensors file with these tensors; ones that share memory get a copy each."""
    from safetensors.torch import save
    seen: set[int] = set()
    tensors = {}
    for name, tensor in state_dict.items():
        tensor = tensor.detach().cpu().contiguous()
        place = tensor.untyped_storage().data_ptr()
        tensors[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return save(tensors, metadata={'format': 'pt'})
