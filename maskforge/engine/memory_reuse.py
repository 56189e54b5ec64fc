"""Tensors of a training step on the CPU use the memory of the step before."""
import ctypes
import os
import platform

import torch

# glibc's own limit of the threshold on 64 bits (half of a thread's heap)
_MMAP_THRESHOLD = 32 * 2**20
_TRIM_THRESHOLD = 2**31 - 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: whoever sets one of these has an opinion of their own
_SET_BY_USER = ('MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_', 'GLIBC_TUNABLES', 'LD_PRELOAD')


def reuse_freed_memory() -> bool:
    """Keep freed memory in the process where training runs on the CPU and the C library is glibc.

    By default glibc maps every large tensor anew and gives it back to the system, which costs a page fault and a
    cleared page per 4 KiB, thousands in each step. Peak memory stays what it is; only its return is put off.

    Returns:
        Whether it was done; it is not with CUDA or when the environment sets the allocator itself.
    """
    if torch.cuda.is_available() or platform.libc_ver()[0] != 'glibc' or any(map(os.environ.get, _SET_BY_USER)):
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD) and libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD))
