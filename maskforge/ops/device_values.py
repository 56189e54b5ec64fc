"""Numbers that the host knows, as tensors where they are needed."""
from typing import Any

import torch
from torch import Tensor


def on_device(values: Any, device: torch.device | str, *, dtype: torch.dtype | None = None) -> Tensor:
    """Return ``torch.tensor(values)`` on ``device`` without waiting for it.

    ``torch.tensor(values, device=device)``, ``tensor.new_tensor(values)`` and ``tensor[a_list]`` block the host until a
    GPU has done all that is queued; a step that does so cannot be prepared while the last one runs.

    Args:
        values: a number or nested sequences of numbers.
        dtype: None is what ``torch.tensor`` makes of the values.
    """
    return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)
