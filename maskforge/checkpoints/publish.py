"""Making a checkpoint fit to be given away: weights and meta data only, the sha256 in the name."""
import hashlib
import io
import os
from pathlib import Path

import torch

from maskforge.formats.atomic_file import write_atomically

from .checkpoint_file import load_checkpoint
from .lora_weights import merge_lora_weights

_KEPT_META = ('dataset_meta', 'cfg', 'epoch', 'iter', 'maskforge_version', 'mmengine_version', 'torch_version')


def publish(path_in: str | os.PathLike, path_out: str | os.PathLike) -> Path:
    """Strip optimizer, random states and logs, merge low-rank additions; write ``<stem>-<8 digits of its sha256>.pth``.

    Args:
        path_in: a checkpoint of a run.
        path_out: name to build on (``mask_rcnn.pth``); ``.safetensors`` writes the weights alone.

    Returns:
        The path that was written.
    """
    from .load_weights import unwrap
    checkpoint = load_checkpoint(path_in)
    weights = {name: tensor.contiguous().clone() for name, tensor in merge_lora_weights(unwrap(checkpoint)).items()}
    path_out = Path(path_out)
    if path_out.suffix == '.safetensors':
        from safetensors.torch import save
        content = save(weights)
    else:
        meta = {key: value for key, value in (checkpoint.get('meta') or {}).items() if key in _KEPT_META}
        buffer = io.BytesIO()
        torch.save(dict(meta=meta, state_dict=weights), buffer)
        content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    suffix = path_out.suffix or '.pth'
    return write_atomically(path_out.with_name(f'{path_out.stem}-{digest[:8]}{suffix}'),
                            lambda stream: stream.write(content))
