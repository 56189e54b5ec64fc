"""The memory that a call needs at its highest."""
import ctypes
import gc
import platform
from collections.abc import Callable
from pathlib import Path

MIB = 1024.
_RESET = Path('/proc/self/clear_refs')
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
    before = resident()
    run()
    return max(resident(field='VmHWM') - before, 0)



def resident(pid: int | str = 'self', field: str = 'VmRSS') -> float:
    """Return the resident memory of a process in MiB; with ``field='VmHWM'`` what it was at most."""
    lines = Path(f'/proc/{pid}/status').read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / MIB
