"""A run of several processes ends when one of them dies or hangs, and says which, where, and after which iteration."""
import atexit
import faulthandler
import os
import socket
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as torch_dist
from mmengine.dist import all_gather_object, get_rank, get_world_size

from .heartbeats import Beat, HeartbeatBoard
from .lost_ranks import find_lost, find_stuck

#: exit code of the processes that end because another one died or hung (EX_TEMPFAIL of sysexits.h: try again)
LOST_RANK_EXIT = 75

_DEFAULTS = dict(timeout=600., long_timeout=3600., lost_after=60.)
_LONG_SILENCE = 10  # parsing a large file, for example, may hold the interpreter for minutes
_GRACE = 10.  # seconds in which a failing process may print its own traceback
_TORCH = str(Path(torch.__file__).parent) + os.sep
_STANDARD = sysconfig.get_path('stdlib') + os.sep
# where a process stands that waits for others: collectives, and the backward pass, which averages gradients
_COLLECTIVES = tuple(_TORCH + part.replace('/', os.sep) for part in (
    'distributed/', 'autograd/graph.py', 'nn/parallel/distributed.py'))


def watchdog_settings(config: Mapping[str, float] | bool | None) -> dict[str, float] | None:
    """``env_cfg.watchdog`` with its defaults; None when it is switched off (False).

    Raises:
        ValueError: an unknown key, or seconds that are not positive.
    """
    if config is False:
        return None
    given = {} if config is None or config is True else dict(config)
    unknown = set(given) - set(_DEFAULTS)
    if unknown:
        raise ValueError(f'env_cfg.watchdog has no {", ".join(sorted(unknown))}; it may hold {", ".join(_DEFAULTS)}, '
                         'all in seconds, or be False.')
    settings = {**_DEFAULTS, **given}
    for key, seconds in settings.items():
        if not isinstance(seconds, (int, float)) or seconds <= 0:
            raise ValueError(f'env_cfg.watchdog.{key} must be a positive number of seconds, got {seconds!r}; '
                             'env_cfg.watchdog=False switches it off.')
    return settings


def watched(runner: Any) -> AbstractContextManager:
    """A context in which the processes of ``runner`` watch each other; empty for one process.

    The watchdog is made at the first call; all ranks must make it.
    """
    settings = watchdog_settings((runner.cfg.get('env_cfg') or {}).get('watchdog'))
    if not runner.distributed or settings is None or get_world_size() == 1:
        return nullcontext()
    if getattr(runner, 'watchdog', None) is None:
        from .hooks.watchdog_hook import WatchdogHook
        watchdog, problem = None, ''
        try:
            watchdog = Watchdog(interruption=runner.interruption, logger=runner.logger,
                                log_dir=runner.log_dir, **settings)
        except (RuntimeError, KeyError) as error:
            problem = f'rank {get_rank()}: {error}'
        # all or none; and every process knows of every other before one of them can be lost
        problems = list(filter(None, all_gather_object(problem)))
        if problems:
            runner.logger.warning(f'the processes cannot watch each other, one that hangs will not be named: '
                                  f'{problems[0]}')
            return nullcontext()
        watchdog.start()
        runner.watchdog = watchdog
        runner.register_hook(WatchdogHook(watchdog))
    return runner.watchdog.watching()


class Watchdog:
    """A thread that publishes this process's progress and looks after the others.

    Rank 0 looks at every rank, the others look at rank 0. The thread needs no GPU, no collective and nothing of the
    main thread but :meth:`note`, which stores a tuple.

    Args:
        timeout: seconds after which a step without end (training, validation, loading of data) is a hang.
        long_timeout: the same for start, metrics and writing of checkpoints, and while any rank does one of these.
        lost_after: seconds without a sign of life after which a process counts as dead; ten times as long where it
            may hold the interpreter (the long phases).
        log_dir: folder for ``watchdog_rank_N.txt``: the message and the stacks of all threads.
        interruption: shared with the loops; a signal that one rank got is made known to all.
        logger: gets the message.
    """

    def __init__(self, *, timeout: float, long_timeout: float, lost_after: float, log_dir: str | Path,
                 interruption: Any, logger: Any) -> None:
        self.rank = get_rank()
        self.timeout, self.long_timeout, self.lost_after = timeout, long_timeout, lost_after
        self.log_dir, self.interruption, self.logger = Path(log_dir), interruption, logger
        self.interval = min(2., timeout / 5, lost_after / 5)
        self._board = HeartbeatBoard(self.rank, lost_after)
        self._state: tuple[str, int, bool] = ('', 0, False)
        self._moved = True
        self._failing = False
        self._stopped = threading.Event()
        self._own = Beat(host=socket.gethostname())
        self._last: dict[int, Beat] = {}
        self._silence: dict[int, float] = {}
        self._echo_age = 0.
        self.note('start', 0, is_long=True)
        self._beat(0.)

    def start(self) -> None:
        """Begin to look after the others, once all of them have put up their first sign of life."""
        self._last = self._board.read(range(get_world_size()))
        self._thread = threading.Thread(target=self._run, name='watchdog', daemon=True)
        self._thread.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """End the thread, before the program does.

        A thread that comes back from the store while Python shuts down is ended where it stands; within C++ that
        aborts the process.
        """
        self._stopped.set()
        self._thread.join(_GRACE)

    # the main thread -------------------------------------------------------------------------------------------------

    def note(self, phase: str, iteration: int, *, is_long: bool = False) -> None:
        """Progress: what begins now, and how many training iterations are complete."""
        self._state = (phase, iteration, is_long)
        self._moved = True

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while a loop runs; an error that leaves it is made known to the other processes."""
        self.note('start', self._state[1], is_long=True)
        try:
            yield
        except Exception as error:
            self._report(error)
            raise
        except SystemExit as leaving:
            if isinstance(leaving.code, int) and leaving.code > 128:  # all ranks leave together after a signal
                self.note('', self._state[1])
            raise
        self.note('', self._state[1])

    def _report(self, error: Exception) -> None:
        """Name this rank as the one that failed; if it only felt another one's end, leave the naming to the thread."""
        phase, iteration, _ = self._state
        text = (f'rank {self.rank} on host {self._own.host} failed after iteration {iteration} ({phase}): '
                f'{type(error).__name__}: {" ".join(str(error).split())[:400]}')
        echoes = is_echo(error)
        with suppress(RuntimeError):  # the store has gone with the process that kept it; the thread finds out as well
            if echoes:
                self._board.say('echo', text)
            else:
                self._failing = True
                self._board.say('verdict', text)
                if self.rank == 0:  # it may keep the store: the others hear the verdict first
                    time.sleep(2 * self.interval)
        if echoes:
            time.sleep(self.lost_after + 5 * self.interval)

    # the thread ------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        before, misses = time.monotonic(), 0
        while not self._stopped.wait(self.interval):
            now = time.monotonic()
            # a job that was suspended as a whole has not stood still
            step, before = min(now - before, 2 * self.interval), now
            try:
                verdict = self._look_round(step)
                misses = 0
            except RuntimeError as error:
                misses += 1
                verdict = self._without_store(error) if misses * self.interval > min(6., self.lost_after) else None
            except Exception as error:  # a mistake of ours must not end a run
                self._retire(error)
                return
            if verdict:
                self._end(verdict)

    def _retire(self, error: Exception) -> None:
        self.logger.warning(f'the watchdog ends, a process that hangs will not be named: {error!r}')
        with suppress(RuntimeError):
            self._own.phase = ''
            self._own.number += 1
            self._board.publish(self._own)

    def _look_round(self, step: float) -> str | None:
        """One beat; returns the reason to end, if there is one."""
        self._beat(step)
        self._share_signal()
        verdict = self._board.heard('verdict')
        if verdict:
            return verdict
        verdict = self._judge(step)
        return self._board.say('verdict', verdict) if verdict else None

    def _beat(self, step: float) -> None:
        own, moved = self._own, self._moved
        self._moved = False
        own.phase, own.iteration, own.is_long = self._state
        own.number, own.still, own.where, own.waits = own.number + 1, 0. if moved else own.still + step, '', False
        if own.still > self.timeout / 2:
            own.where, own.waits = place(sys._current_frames().get(threading.main_thread().ident))
        self._board.publish(own)

    def _share_signal(self) -> None:
        if self.interruption.signum:
            self._board.say('signal', str(self.interruption.signum))
        else:
            self.interruption.signum = int(self._board.heard('signal') or 0)

    def _judge(self, step: float) -> str | None:
        beats = self._board.read(range(get_world_size()) if self.rank == 0 else [0])
        for rank, beat in beats.items():
            same = rank in self._last and self._last[rank].number == beat.number
            self._silence[rank] = self._silence.get(rank, 0.) + step if same else 0.
        self._last = beats
        echo = self._board.heard('echo')
        self._echo_age += step if echo else 0.
        limit = 3 * self.interval if echo else self.lost_after
        lost = find_lost(beats, self._silence, limit=limit, long_limit=limit if echo else limit * _LONG_SILENCE)
        if lost is None and echo and self._echo_age > self.lost_after:
            lost = echo
        if lost or echo or self.rank != 0:  # who holds up whom is seen only by the one that looks at all
            return lost
        return find_stuck(beats, timeout=self.timeout, long_timeout=self.long_timeout)

    def _without_store(self, error: RuntimeError) -> str | None:
        """What it means that the store is out of reach: rank 0 keeps it, or torchrun."""
        if not self._state[0]:  # past the loops: the others have left already
            return None
        keeper = self._last.get(0)
        if self.rank == 0 or keeper is None:
            return (f'the store of the process group is out of reach after iteration {self._state[1]}, the launcher '
                    f'has ended: {" ".join(str(error).split())[:200]}')
        return f'rank 0 on host {keeper.host} has died; the last that was seen of it is {keeper.describe()}'

    def _end(self, verdict: str) -> None:
        path = self.log_dir / f'watchdog_rank_{self.rank}.txt'
        text = (f'{verdict}. All processes end with code {LOST_RANK_EXIT}, --resume continues from the last '
                f'checkpoint; the stacks are in {self.log_dir / "watchdog_rank_*.txt"}')
        try:
            teller = f'[told by rank {self.rank}, at iteration {self._state[1]}]'
            os.write(2, f'maskforge: error: {text} {teller}\n'.encode())
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, 'w') as stream:
                stream.write(f'{text}\n\n')
                stream.flush()
                faulthandler.dump_traceback(stream, all_threads=True)
        except OSError:  # a full disk or a closed terminal must not keep the process alive
            pass
        # the main thread may stand still while it holds the log's lock
        logging = threading.Thread(target=lambda: self.logger.error(text), daemon=True)
        logging.start()
        logging.join(2.)
        if self._failing:
            if self._stopped.wait(_GRACE):  # the program ends by itself, with a code of its own
                return
        elif self.rank == 0:  # it may keep the store: the others hear the verdict first
            time.sleep(2 * self.interval)
        os._exit(LOST_RANK_EXIT)


def is_echo(error: BaseException) -> bool:
    """Whether an error is what the end of another process looks like from here."""
    text = str(error)
    return isinstance(error, torch_dist.DistError) or (isinstance(error, RuntimeError) and any(
        part in text for part in ('gloo', 'NCCL', 'Connection closed by peer', 'Connection reset by peer')))


def place(frame: FrameType | None) -> tuple[str, bool]:
    """Where a thread stands: the innermost function that is no library's, and whether it waits in a collective."""
    waits, found = False, ''
    while frame is not None:
        file = frame.f_code.co_filename
        waits = waits or file.startswith(_COLLECTIVES)
        is_standard = file.startswith(_STANDARD) and 'site-packages' not in file
        if not found and not is_standard and not file.startswith(_TORCH):
            found = f'{frame.f_code.co_name} ({os.path.basename(file)}:{frame.f_lineno})'
        frame = frame.f_back
    return found, waits
