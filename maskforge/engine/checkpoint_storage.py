"""Checkpoints that go to a storage back end of MMEngine rather than to a local folder."""
import io
from typing import Any

import torch
from mmengine.fileio import join_path, put

from maskforge.checkpoints import current_key, encrypted


def put_elsewhere(checkpoint: dict[str, Any], out_dir: str, filename: str, backend_args: dict | None) -> None:
    """Write a checkpoint through a back end, encrypted where a key is set; as atomic as that back end is."""
    content = io.BytesIO()
    encrypted(lambda stream: torch.save(checkpoint, stream), current_key())(content)
    put(content.getvalue(), join_path(out_dir, filename, backend_args=backend_args), backend_args=backend_args)
