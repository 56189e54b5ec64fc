"""Ctrl-C and a cluster's notice to leave: save first, then go."""
import math
import os
import signal
import threading
import time
from typing import Any

import torch
from mmengine.hooks import Hook

from maskforge.registry import HOOKS

_ONE_KEY_PRESS = 1.  # seconds


@HOOKS.register_module()
class SignalHook(Hook):
    """On SIGINT, SIGTERM or SIGUSR1 during training: finish the iteration, save a checkpoint, and exit.

    All processes leave together, also when only one got the signal. The exit code is 128 + the signal's number: 130
    after Ctrl-C, 143 after SIGTERM, 138 after SIGUSR1 (``sbatch --signal=B:USR1@120``); of several, the first counts.
    ``--resume`` continues at the next iteration. A second Ctrl-C ends the program at once, a second SIGTERM or SIGUSR1
    changes nothing: the checkpoint is on its way. Validation is left at its next batch, and done again after the
    resume.
    """

    priority = 'LOWEST'
    signals = tuple(getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGUSR1') if hasattr(signal, name))

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._first_ctrl_c = math.inf

    def before_train(self, runner) -> None:
        """Take over the signals; possible in the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            return

        def note(signum: int, _frame) -> None:
            now = time.monotonic()
            # torchrun hands on the Ctrl-C that the terminal sends to every process: that is still the first one
            if signum == signal.SIGINT and now - self._first_ctrl_c > _ONE_KEY_PRESS:
                raise KeyboardInterrupt
            if signum == signal.SIGINT:
                self._first_ctrl_c = min(self._first_ctrl_c, now)
            runner.interruption.signum = runner.interruption.signum or signum
            # the log's streams must not be entered again in the middle of one of their lines
            os.write(2, f'maskforge: {signal.Signals(signum).name}: a checkpoint is saved after this iteration, then '
                        f'the program ends\n'.encode())

        self._before = {signum: signal.signal(signum, note) for signum in self.signals}

    def after_train_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Leave if any process was asked to; several GPUs ask each other at every 10th iteration, because they wait."""
        if runner.world_size > 1 and torch.cuda.is_available() and (runner.iter + 1) % 10 \
                and not runner.interruption.agreed:
            return
        runner.leave_if_interrupted(iteration_ended=True)

    def after_train(self, runner) -> None:
        """Give the signals back."""
        self.release()

    def release(self) -> None:
        """Give the signals back; the runner calls this also when training ends with an error."""
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before = {}
