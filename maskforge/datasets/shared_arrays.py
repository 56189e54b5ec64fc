"""Arrays in one piece of memory that all processes of a machine can use."""
import mmap
import os
import secrets
import socket
from collections.abc import Callable, Mapping
from multiprocessing import reduction
from multiprocessing.context import get_spawning_popen
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object, barrier, get_rank, get_world_size
from mmengine.logging import print_log

Layout = dict[str, tuple[str, tuple[int, ...], int]]
#: arrays begin at multiples of this
_ALIGNMENT = 64
_TOKEN = 16


class SharedArrays(Mapping):
    """Named read-only arrays in one memory mapping.

    Forked and spawned processes get the same memory instead of a copy, and so do other processes of the machine that
    :meth:`attach`. The memory is given back when the last of them ends. Where the system has no anonymous memory files
    (it is not Linux), the arrays are ordinary ones, and spawned processes copy them.
    """

    def __init__(self, handle: int | None, layout: Layout, content: Any) -> None:
        self._handle, self._layout = handle, layout
        self._arrays = {}
        for name, (kind, shape, start) in layout.items():
            array = np.frombuffer(content, np.dtype(kind), int(np.prod(shape)), start).reshape(shape)
            array.flags.writeable = False
            self._arrays[name] = array

    @classmethod
    def create(cls, arrays: Mapping[str, np.ndarray]) -> 'SharedArrays':
        """Copy arrays into a new mapping."""
        layout, end = {}, _ALIGNMENT
        for name, array in arrays.items():
            layout[name] = (array.dtype.str, array.shape, end)
            end += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
        if not hasattr(os, 'memfd_create'):
            content = bytearray(end)
            _fill(content, arrays, layout)
            return cls(None, layout, content)
        handle = os.memfd_create('maskforge_annotations')
        os.ftruncate(handle, end)
        with mmap.mmap(handle, end) as content:
            content[:_TOKEN] = secrets.token_bytes(_TOKEN)
            _fill(content, arrays, layout)
        return cls._open(handle, layout)

    @classmethod
    def attach(cls, address: tuple) -> 'SharedArrays':
        """Use the memory that another process has created.

        Args:
            address: its :meth:`address`.

        Raises:
            OSError: the memory cannot be reached from here.
        """
        process, number, token, layout = address
        handle = os.open(f'/proc/{process}/fd/{number}', os.O_RDONLY)
        if os.pread(handle, _TOKEN, 0) != token:  # another process of that number, in another container
            os.close(handle)
            raise OSError(f'process {process} is not the one that created the memory')
        return cls._open(handle, layout)

    @classmethod
    def _open(cls, handle: int, layout: Layout) -> 'SharedArrays':
        # entered in the page table at once: tools that measure memory count a page that only one process has entered
        # as that process's own
        flags = mmap.MAP_SHARED | getattr(mmap, 'MAP_POPULATE', 0)
        return cls(handle, layout, mmap.mmap(handle, 0, flags=flags, prot=mmap.PROT_READ))

    def address(self) -> tuple | None:
        """What another process of the machine needs to attach; None where that is not possible."""
        if self._handle is None:
            return None
        return os.getpid(), self._handle, os.pread(self._handle, _TOKEN, 0), self._layout

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    def __iter__(self):
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __deepcopy__(self, memo: dict) -> 'SharedArrays':
        return self  # nobody can write to it

    def __reduce__(self) -> tuple:
        if self._handle is not None and get_spawning_popen() is not None:
            return _open_in_child, (reduction.DupFd(self._handle), self._layout)
        return SharedArrays.create, (dict(self._arrays),)

    def __del__(self) -> None:
        if getattr(self, '_handle', None) is not None:
            os.close(self._handle)


def _open_in_child(duplicate: Any, layout: Layout) -> SharedArrays:
    return SharedArrays._open(duplicate.detach(), layout)


def _fill(content: Any, arrays: Mapping[str, np.ndarray], layout: Layout) -> None:
    for name, array in arrays.items():
        kind, shape, start = layout[name]
        np.frombuffer(content, np.dtype(kind), int(np.prod(shape)), start).reshape(shape)[...] = array


def build_once_per_node(build: Callable[[], tuple[SharedArrays, Any]]) -> tuple[SharedArrays, Any]:
    """Let one process of each machine build arrays and a small description; the others of that machine use them.

    All processes of the run must call it. A process that cannot reach the memory (it runs in a container of its own)
    builds a copy for itself.

    Raises:
        ValueError: ``build`` failed on another process; the message is the one from there.
    """
    if get_world_size() == 1:
        return build()
    nodes = all_gather_object(_node())
    leader, rank = nodes.index(nodes[get_rank()]), get_rank()
    built, failure = None, None
    if rank == leader:
        try:
            built = build()
        except Exception as error:  # the others would wait for ever
            failure = error
    offers = all_gather_object((built and built[0].address(), built and built[1], failure and str(failure)))
    if failure is not None:
        raise failure
    failed = next((text for *_, text in offers if text), None)
    if failed:
        raise ValueError(failed)
    if built is None:
        address, description, _ = offers[leader]
        try:
            built = SharedArrays.attach(address) if address else build()[0], description
        except OSError as error:
            print_log(f'rank {rank} reads its own copy of the annotations: the memory of rank {leader} is out of reach '
                      f'({error}).', 'current')
            built = build()
    barrier()  # the creator keeps the memory open until everybody has it
    return built


def _node() -> str:
    boot = Path('/proc/sys/kernel/random/boot_id')
    return f'{socket.gethostname()} {boot.read_text().strip() if boot.exists() else ""}'
