"""The recent values of a logged number: bounded, cheap to extend, and without waiting for the device."""
from collections import deque
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from torch import Tensor

DEFAULT_LENGTH = 10_000


class ScalarHistory(HistoryBuffer):
    """MMEngine's ``HistoryBuffer`` with a bound and with lazy values.

    MMEngine keeps up to a million values and copies all of them at every update; every update of a tensor waits for
    the device. Here tensors are kept as they are until somebody reads the buffer (once per logging interval).

    Args:
        values, counts: values so far.
        max_length: older values are dropped, and statistics cover what is left.
    """

    def __init__(self, values=(), counts=(), max_length: int = DEFAULT_LENGTH):
        self._set_default_statistics()
        self._values: deque = deque(values, maxlen=max_length)
        self._counts: deque = deque(counts, maxlen=max_length)
        self._pending: list[Tensor] = []

    @property
    def max_length(self) -> int:
        """How many values are kept at most."""
        return self._values.maxlen

    def update(self, log_val: float | Tensor, count: int = 1) -> None:
        """Append a value: a number, or a tensor of one element on any device."""
        if isinstance(log_val, Tensor):
            log_val = log_val.detach()
            self._pending.append(log_val)
        elif self._pending:
            self._flush()
        self._values.append(log_val)
        self._counts.append(count)
        if len(self._pending) >= 1000:
            self._flush()

    def _flush(self) -> None:
        """Replace the tensors at the end of the buffer by numbers, in one transfer."""
        count = min(len(self._pending), len(self._values))
        if count == 0:
            return
        tensors = [tensor.reshape(()).double() for tensor in self._pending[-count:]]
        numbers = torch.stack(tensors).tolist()
        for _ in range(count):
            self._values.pop()
        self._values.extend(numbers)
        self._pending.clear()

    @property
    def _log_history(self) -> np.ndarray:
        self._flush()
        return np.array(self._values, dtype=np.float64)

    @property
    def _count_history(self) -> np.ndarray:
        return np.array(self._counts, dtype=np.int64)

    def current(self) -> float:
        """The latest value.

        Raises:
            ValueError: there is none yet.
        """
        if not self._values:
            raise ValueError('The history is empty: nothing was logged under this name yet.')
        self._flush()
        return self._values[-1]

    def __deepcopy__(self, memo: dict[int, Any]) -> 'ScalarHistory':
        self._flush()
        return ScalarHistory(self._values, self._counts, self.max_length)

    def __getstate__(self) -> dict[str, Any]:
        self._flush()
        return dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._set_default_statistics()


def bound_histories(hub: MessageHub, max_length: int = DEFAULT_LENGTH) -> None:
    """Replace MMEngine's unbounded buffers in the hub, whoever made them."""
    for key, buffer in hub.log_scalars.items():
        if not isinstance(buffer, ScalarHistory):
            values, counts = buffer.data
            hub.log_scalars[key] = ScalarHistory(values.tolist(), counts.tolist(), max_length)


def record_scalar(hub: MessageHub, key: str, value: float | Tensor) -> None:
    """Log a number under ``key`` without waiting for the device (but for the key's first value)."""
    buffer = hub.log_scalars.get(key)
    if isinstance(buffer, ScalarHistory):
        buffer.update(value)
    else:
        hub.update_scalar(key, value)  # registers the key as one to be stored in checkpoints
        bound_histories(hub)
