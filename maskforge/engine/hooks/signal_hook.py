"""Ctrl-C and a cluster's notice to leave: save first, then go."""
import signal
import threading
from typing import Any

import torch
from mmengine.hooks import Hook

from maskforge.registry import HOOKS


@HOOKS.register_module()
class SignalHook(Hook):
    """On SIGINT, SIGTERM or SIGUSR1 during training: finish the iteration, save a checkpoint, and exit.

    All processes leave together. The exit code is 128 + the signal's number: 130 after Ctrl-C, 143 after SIGTERM, 138
    after SIGUSR1 (``sbatch --signal=USR1@120``). ``--resume`` continues at the next iteration. A second Ctrl-C ends
    the program at once. Validation is left at its next batch, and done again after the resume.
    """

    priority = 'LOWEST'
    signals = tuple(getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGUSR1') if hasattr(signal, name))

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}

    def before_train(self, runner) -> None:
        """Take over the signals; possible in the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            return

        def note(signum: int, _frame) -> None:
            if runner.interruption.requested and signum == signal.SIGINT:
                raise KeyboardInterrupt
            runner.interruption.signum = signum
            runner.logger.warning(f'{signal.Signals(signum).name}: a checkpoint is saved after this iteration, then '
                                  f'the program ends')

        self._before = {signum: signal.signal(signum, note) for signum in self.signals}

    def after_train_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Leave if any process was asked to; several GPUs ask each other at every 10th iteration, because they wait."""
        if runner.world_size > 1 and torch.cuda.is_available() and (runner.iter + 1) % 10:
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
