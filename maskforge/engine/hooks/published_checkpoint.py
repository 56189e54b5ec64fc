"""``published_keys``: a copy of a checkpoint with some of its keys and its hash in the name."""
from collections.abc import Sequence
from pathlib import Path

import torch

from maskforge.checkpoints import current_key, load_checkpoint
from maskforge.checkpoints.publish import write_named_by_hash


def write_published(path: str | Path, keys: Sequence[str]) -> Path:
    """Write ``<stem>-<8 digits of the sha256>.pth`` beside ``path``, with the top-level ``keys`` only.

    Raises:
        KeyError: the checkpoint lacks one of the keys.
    """
    checkpoint = load_checkpoint(path)
    missing = [key for key in keys if key not in checkpoint]
    if missing:
        raise KeyError(f'published_keys names {", ".join(missing)}, but {path} holds {", ".join(checkpoint)}.')
    return write_named_by_hash(Path(path).with_suffix('.pth'), lambda stream: torch.save(
        {key: checkpoint[key] for key in keys}, stream), key=current_key())
