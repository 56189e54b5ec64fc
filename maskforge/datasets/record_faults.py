"""Records that cannot be read: tried again, named once, counted, and at some number the end of the run."""
import errno
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import cv2
import torch
from mmengine.logging import print_log

from maskforge.structures import mark_randomness

from .deadline import deadline

#: what a broken or missing file raises while it is read; anything else is a mistake in the program and passes through
BROKEN_RECORD = (OSError, ValueError, EOFError, cv2.error)
#: so many broken records in a row mean that the folder or the pipeline is wrong, not a record
MAX_BROKEN_IN_A_ROW = 10
#: what a file system says about a file that is simply not there, or is none
_LASTING = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
_DEFAULTS = dict(retries=3, delay=0.5, timeout=None, max_broken=None)
_RETRIED, _BROKEN = 1, 2


class RecordFaults:
    """The faults of one data set, known to all loader workers of a process.

    A record is read again, with the randomness that it had, so that a fault that passes leaves no trace in the
    training: after errors of the file system ``retries`` times with growing delays, after content that makes no sense
    (a read that was cut short) once and at once, never where the file does not exist.

    Args:
        fault_cfg: ``retries`` (3), ``delay`` in seconds before the first retry, doubled for each further one (0.5),
            ``timeout`` in seconds for one attempt (None: no limit; see :func:`deadline`), ``max_broken``: the number of
            broken records, or their share of all (below 1), from which on the run ends (None: never).
        on_error: 'skip' or 'raise'.
        noun: for records in messages.

    Raises:
        ValueError: an unknown key, or a value out of range.
    """

    def __init__(self, fault_cfg: Mapping[str, Any] | None = None, *, on_error: str, noun: str = 'records') -> None:
        settings = {**_DEFAULTS, **(fault_cfg or {})}
        _check(settings)
        self.retries, self.delay = settings['retries'], settings['delay']
        self.timeout, self.max_broken = settings['timeout'], settings['max_broken']
        self.on_error, self.noun = on_error, noun
        self.source, self.name_of = '', str
        self.flags = torch.zeros(1, dtype=torch.uint8)

    def watch(self, length: int, *, source: str, name_of: Callable[[int], str]) -> None:
        """Begin to count, for so many records of ``source``; ``name_of`` names the record of an index."""
        self.source, self.name_of = source, name_of
        # one byte a record in shared memory: every worker sees what the others have reported
        self.flags = torch.zeros(max(length, 1), dtype=torch.uint8).share_memory_()

    def broken(self) -> list[int]:
        """Indices that could not be read so far."""
        return torch.nonzero(self.flags & _BROKEN).flatten().tolist()

    def retried(self) -> list[int]:
        """Indices that were read, but not at the first attempt."""
        return torch.nonzero(self.flags == _RETRIED).flatten().tolist()

    def add_broken(self, indices: Iterable[int]) -> None:
        """Take over what other processes could not read."""
        for index in indices:
            self.flags[index] |= _BROKEN

    def read(self, index: int, prepare: Callable[[], Any]) -> Any:
        """Return ``prepare()``, called anew after faults that may pass; raises its last error."""
        rewind = mark_randomness()
        unreadable = senseless = 0
        while True:
            try:
                with deadline(self.timeout):
                    return prepare()
            except Exception as error:
                fault = fault_of(error)
                if fault is None or self.flags[index] & _BROKEN or not self._may_pass(fault, unreadable, senseless):
                    raise
                unreadable, senseless = unreadable + isinstance(fault, OSError), senseless + (
                    not isinstance(fault, OSError))
            self.flags[index] |= _RETRIED
            time.sleep(self.delay * 2 ** (unreadable - 1) if isinstance(fault, OSError) else 0)
            rewind()

    def handle(self, index: int, error: Exception, in_a_row: int) -> None:
        """Name a broken record if it is a new one; the caller then draws another.

        Raises:
            ValueError: ``on_error`` is 'raise'; too many records are broken, in a row or in all.
        """
        name = self.name_of(index)
        if self.on_error == 'raise' or getattr(error, 'fatal', False):
            if name in str(error):
                raise error
            raise ValueError(f'{name} cannot be used: {error}') from error
        if not self.flags[index] & _BROKEN:
            self.flags[index] |= _BROKEN
            print_log(f'{name} is skipped ({len(self.broken())} broken {self.noun} so far): {type(error).__name__}: '
                      f'{error}', 'current', logging.WARNING)
            self.check_limit()
        if in_a_row >= MAX_BROKEN_IN_A_ROW:
            raise TooManyBrokenError(f'{self.source}: {in_a_row} {self.noun} in a row could not be used, last {name}: '
                                     f'{error} Check the folders (data_root, data_prefix), the sampler and the '
                                     f'pipeline.') from error

    def check_limit(self) -> None:
        """Compare the broken records with ``max_broken``.

        Raises:
            ValueError: there are more; the message names the first ones.
        """
        if self.max_broken is None:
            return
        allowed = self.max_broken if self.max_broken >= 1 else self.max_broken * len(self.flags)
        broken = self.broken()
        if len(broken) > allowed:
            names = ', '.join(self.name_of(index) for index in broken[:5])
            raise TooManyBrokenError(f'{self.source}: {len(broken)} of {len(self.flags)} {self.noun} could not be '
                                     f'used, and fault_cfg.max_broken={self.max_broken} ends the run: {names}'
                                     f'{", ..." if len(broken) > 5 else ""}. Mend the files or the file system, or '
                                     f'allow more.')

    def _may_pass(self, fault: Exception, unreadable: int, senseless: int) -> bool:
        """Whether another attempt is worth while, after so many errors of the file system and of content."""
        if getattr(fault, 'fatal', False) or isinstance(fault, FileNotFoundError):
            return False
        if isinstance(fault, OSError):
            return fault.errno not in _LASTING and unreadable < self.retries
        return senseless < min(self.retries, 1)


class TooManyBrokenError(ValueError):
    """So many records are broken that the run ends."""


def fault_of(error: Exception) -> Exception | None:
    """The error that says that a record is broken, or None for a mistake in the program."""
    if isinstance(error, TooManyBrokenError):
        return None
    # the chain of transforms raises an error again under a plainer type; the cause is the error itself
    return next((one for one in (error.__cause__, error) if isinstance(one, BROKEN_RECORD)), None)


def _check(settings: Mapping[str, Any]) -> None:
    for key in settings:
        if key not in _DEFAULTS:
            raise ValueError(f'fault_cfg has an unknown key {key!r}: allowed are {", ".join(_DEFAULTS)}.')
    rules = dict(
        retries=('a whole number from 0', lambda value: isinstance(value, int) and value >= 0),
        delay=('seconds from 0', lambda value: _is_number(value) and value >= 0),
        timeout=('seconds above 0, or None', lambda value: value is None or (_is_number(value) and value > 0)),
        max_broken=('a number from 1, a share below 1, or None',
                    lambda value: value is None or (_is_number(value) and value >= 0)))
    for key, (text, fits) in rules.items():
        if not fits(settings[key]):
            raise ValueError(f'fault_cfg.{key}={settings[key]!r} must be {text}.')


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
