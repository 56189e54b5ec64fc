"""Making a checkpoint fit to be given away: weights and meta data only, the sha256 in the name."""
import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from types import EllipsisType
from typing import BinaryIO

import torch
from torch import Tensor, nn

from maskforge.formats.atomic_file import write_atomically

from .checkpoint_file import load_checkpoint
from .encrypted_file import encrypted
from .encryption_key import current_key
from .layout import find_layout
from .lora_weights import merge_lora_weights
from .weights_file import safetensors_bytes

_KEPT_META = ('dataset_meta', 'cfg', 'epoch', 'iter', 'maskforge_version', 'mmengine_version', 'torch_version')


def publish(path_in: str | os.PathLike, path_out: str | os.PathLike, *, layout: str | None = None,
            model: nn.Module | None = None, key: bytes | EllipsisType | None = ...) -> Path:
    """Strip optimizer, random states and logs, merge low-rank additions; write ``<stem>-<8 digits of its sha256>.pth``.

    Args:
        path_in: a checkpoint of a run.
        path_out: name to build on (``mask_rcnn.pth``); ``.safetensors`` writes the weights alone.
        layout: name of a registered public layout, in which other libraries read the file; None keeps our names.
        model: for a layout, the checkpoint's model on the CPU, with its weights and no low-rank additions.
        key: encrypts the file; None for none. Left out, it is the key in effect, with which ``path_in`` is read.

    Returns:
        The path that was written.

    Raises:
        ValueError: a layout that does not exist, or not for this model; no key to read with.
    """
    from .load_weights import unwrap
    checkpoint, container = load_checkpoint(path_in), 'state_dict'
    if layout is None:
        weights = merge_lora_weights(unwrap(checkpoint))
    else:
        public = find_layout(layout, model)
        weights, container = public.from_ours(_tensors(model), model), public.container
    for name, tensor in weights.items():  # in place: what else a layout's dict carries stays
        weights[name] = tensor.detach().contiguous().clone()
    path_out = Path(path_out)
    if path_out.suffix == '.safetensors':
        def write(stream: BinaryIO) -> None:
            stream.write(safetensors_bytes(weights))
    else:
        meta = {key: value for key, value in (checkpoint.get('meta') or {}).items() if key in _KEPT_META}

        def write(stream: BinaryIO) -> None:
            torch.save({'meta': meta, container: weights} if container else weights, stream)
    return write_named_by_hash(path_out, write, key=current_key() if key is ... else key)


def write_named_by_hash(path: Path, content: Callable[[BinaryIO], object], *, key: bytes | None) -> Path:
    """Write ``<stem>-<8 digits of the sha256><suffix>``, the hash being of the file as it lies there, encrypted or not.

    Returns:
        The path that was written.
    """
    buffer = io.BytesIO()
    encrypted(content, key)(buffer)
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
    return write_atomically(path.with_name(f'{path.stem}-{digest[:8]}{path.suffix or ".pth"}'),
                            lambda stream: stream.write(buffer.getbuffer()))


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
