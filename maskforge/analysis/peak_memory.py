"""The memory that a call needs at its highest."""
import ctypes
import gc
import platform
import re
from collections.abc import Callable
from pathlib import Path

_STATUS, _RESET = Path('/proc/self/status'), Path('/proc/self/clear_refs')
#: what the kernel takes for "forget the highest resident size"
_FORGET_PEAK = '5'


def peak_memory(run: Callable[[], object]) -> float:
    """Return by how many MiB the resident memory of this process has grown at most while ``run()`` ran (Linux).

    What is freed already is given back to the system before, so that nothing finds room in it.

    Raises:
        OSError: the system has no ``/proc/self/clear_refs``.
    """
    gc.collect()
    if platform.libc_ver()[0] == 'glibc':
        ctypes.CDLL(None).malloc_trim(0)
    _RESET.write_text(_FORGET_PEAK)
    before = _kibibytes('VmRSS')
    run()
    return max(_kibibytes('VmHWM') - before, 0) / 1024


def _kibibytes(name: str) -> int:
    return int(re.search(rf'^{name}:\s+(\d+) kB', _STATUS.read_text(), re.MULTILINE)[1])
