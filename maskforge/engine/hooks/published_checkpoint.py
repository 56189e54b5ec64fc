"""``published_keys``: a copy of a checkpoint with some of its keys and its hash in the name."""
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import torch

from maskforge.checkpoints import load_checkpoint, write_atomically


def write_published(path: str | Path, keys: Sequence[str]) -> Path:
    """Write ``<stem>-<8 digits of the sha256>.pth`` beside ``path``, with the top-level ``keys`` only.

    Raises:
        KeyError: the checkpoint lacks one of the keys.
    """
    checkpoint = load_checkpoint(path)
    missing = [key for key in keys if key not in checkpoint]
    if missing:
        raise KeyError(f'published_keys names {", ".join(missing)}, but {path} holds {", ".join(checkpoint)}.')
    buffer = io.BytesIO()
    torch.save({key: checkpoint[key] for key in keys}, buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    path = Path(path)
    return write_atomically(path.with_name(f'{path.stem}-{digest[:8]}.pth'),
                            lambda stream: stream.write(buffer.getvalue()))
