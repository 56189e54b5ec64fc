"""A request from outside (a signal) to stop training at the next safe place."""
import signal
from pathlib import Path
from typing import Any, NoReturn

import torch
from mmengine.dist import all_reduce, barrier, get_world_size, is_main_process

from maskforge.checkpoints import write_last_checkpoint


class Interruption:
    """Set by a signal handler, asked by the loops.

    Attributes:
        signum: number of the signal that arrived in this process; 0 for none.
        agreed: what the processes last agreed on, the same on all of them.
    """

    def __init__(self) -> None:
        self.signum = self.agreed = 0

    @property
    def requested(self) -> bool:
        """Whether this process was asked to stop; other processes may not know yet."""
        return self.signum != 0

    def agree(self) -> int:
        """The signal that any process got, 0 for none; all ranks must call this."""
        signum = torch.tensor(self.signum)
        if get_world_size() > 1:
            all_reduce(signum, 'max')
        self.agreed = int(signum)
        return self.agreed


def window_is_shared(runner: Any) -> bool:
    """Whether processes hold gradients of an accumulation window that is not over.

    A checkpoint has one set of gradients, and averaging over the processes earlier than an unbroken run would change
    the last bits: the run leaves at the window's end.
    """
    return get_world_size() > 1 and getattr(runner.optim_wrapper, 'has_open_window', False)


def save_and_leave(runner: Any, signum: int, *, done: int) -> NoReturn:
    """Save ``iter_N.pth``, close the logs, exit with 128 + the signal's number; all ranks together.

    Args:
        done: training iterations that are complete.
    """
    runner.call_hook('before_write_checkpoint')
    path = Path(runner.work_dir) / f'iter_{done}{runner.strategy.checkpoint_suffix}'
    # a file that was due here anyway is kept as long as others of its kind
    marks = {} if path.exists() else dict(left_by=signal.Signals(signum).name)
    runner.save_checkpoint(runner.work_dir, path.name, meta=dict(epoch=runner.epoch, iter=done, **marks))
    if is_main_process():
        write_last_checkpoint(runner.work_dir, path)
    runner.call_hook('after_leaving_checkpoint', path=path)
    runner.logger.warning(f'{signal.Signals(signum).name}: saved {path}; --resume continues there')
    runner.call_hook('after_run')
    barrier()  # a launcher that sees one process end may kill the one that still writes
    raise SystemExit(128 + signum)
