"""A compiled kernel is tried on an example before it is relied on."""
import importlib.util
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import torch

HAS_TRITON = importlib.util.find_spec('triton') is not None
#: Triton's interpreter takes tensors of the CPU
INTERPRETED = os.environ.get('TRITON_INTERPRET', '').lower() in ('1', 'true', 'on', 'yes', 'y')


def works(check: Callable[..., str], device: str, *args, otherwise: str) -> bool:
    """Return whether nothing is wrong; if something is, one warning says what happens ``otherwise``, and why.

    Args:
        check: as in :func:`what_fails`.
    """
    error = what_fails(check, device, *args)
    if error:
        warnings.warn(f'{otherwise}: {error}', RuntimeWarning, stacklevel=3)
    return not error


def what_fails(check: Callable[..., str], device: str, *args) -> str:
    """Return what ``check(device, *args)`` says or raises; empty if nothing is wrong.

    It runs in a thread of its own, where no autocast, inference mode, or hook on saved tensors of the caller is in the
    way.

    Args:
        device: type of the device.

    Raises:
        torch.OutOfMemoryError: that says nothing about the kernel.
    """
    index = torch.cuda.current_device() if device == 'cuda' else None  # a new thread begins at device 0

    def there() -> str:
        with nullcontext() if index is None else torch.cuda.device(index):
            return check(device, *args)

    try:
        with ThreadPoolExecutor(1) as fresh:
            return fresh.submit(there).result()
    except torch.OutOfMemoryError:
        raise
    except Exception as problem:  # compilers fail in many ways
        return f'{type(problem).__name__}: {problem}'
