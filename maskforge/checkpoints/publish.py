"""Making a checkpoint fit to be given away: weights and meta data only, the sha256 in the name."""
import hashlib
import io
import os
from pathlib import Path

import torch
from torch import Tensor, nn

from maskforge.formats.atomic_file import write_atomically

from .checkpoint_file import load_checkpoint
from .layout import find_layout
from .lora_weights import merge_lora_weights

_KEPT_META = ('dataset_meta', 'cfg', 'epoch', 'iter', 'maskforge_version', 'mmengine_version', 'torch_version')


def publish(path_in: str | os.PathLike, path_out: str | os.PathLike, *, layout: str | None = None,
            model: nn.Module | None = None) -> Path:
    """Strip optimizer, random states and logs, merge low-rank additions; write ``<stem>-<8 digits of its sha256>.pth``.

    Args:
        path_in: a checkpoint of a run.
        path_out: name to build on (``mask_rcnn.pth``); ``.safetensors`` writes the weights alone.
        layout: name of a registered public layout, in which other libraries read the file; None keeps our names.
        model: for a layout, the checkpoint's model on the CPU, with its weights and no low-rank additions.

    Returns:
        The path that was written.

    Raises:
        ValueError: a layout that does not exist, or not for this model.
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
        from safetensors.torch import save
        content = save(weights)
    else:
        meta = {key: value for key, value in (checkpoint.get('meta') or {}).items() if key in _KEPT_META}
        buffer = io.BytesIO()
        torch.save({'meta': meta, container: weights} if container else weights, buffer)
        content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    suffix = path_out.suffix or '.pth'
    return write_atomically(path_out.with_name(f'{path_out.stem}-{digest[:8]}{suffix}'),
                            lambda stream: stream.write(content))


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
