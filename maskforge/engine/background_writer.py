"""Writing while the training goes on: a copy of the state, and one thread."""
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def staged(value: Any, copies: dict[int, torch.UntypedStorage] | None = None) -> Any:
    """Copy a plain checkpoint so that training cannot change it; tensors that share memory still do."""
    copies = {} if copies is None else copies
    if isinstance(value, Tensor):
        storage = value.untyped_storage()
        place = storage.data_ptr()
        if place not in copies:
            copies[place] = storage.clone()
        copy = torch.empty(0, dtype=value.dtype)
        return copy.set_(copies[place], value.storage_offset(), value.size(), value.stride())
    if isinstance(value, dict):
        return {key: staged(item, copies) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(staged(item, copies) for item in value)
    return value


class BackgroundWriter:
    """Does one job at a time in a thread; its error waits for :meth:`wait`.

    The thread is no daemon: an interpreter that ends waits for it.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def busy(self) -> bool:
        """Whether a job was handed over whose end nobody has waited for."""
        return self._thread is not None

    def start(self, job: Callable[[], None]) -> None:
        """Run ``job`` in the background; the one before must have been waited for."""
        if self._thread is not None:
            raise RuntimeError('the job before was not waited for')
        self._thread = threading.Thread(target=self._run, args=(job,), name='checkpoint writer')
        self._thread.start()

    def wait(self) -> BaseException | None:
        """Wait for the end of the job, if there is one, and return its error."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        return error

    def _run(self, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            self._error = error
