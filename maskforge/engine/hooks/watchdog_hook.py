"""Tells the watchdog how far the loops are."""
from typing import Any

from mmengine.hooks import Hook

from maskforge.engine.lost_ranks import LOADING


class WatchdogHook(Hook):
    """Notes the beginning of steps, loading, metrics and checkpoints; the runner registers it for several processes.

    Args:
        watchdog: of :mod:`maskforge.engine.watchdog`.
    """

    priority = 'LOWEST'

    def __init__(self, watchdog: Any) -> None:
        self.watchdog = watchdog
        self._first, self._in_step = True, False

    def before_train(self, runner) -> None:
        """The first iteration starts workers and may compile."""
        self._first = True
        self.watchdog.note('start of training', runner.iter, is_long=True)

    def before_train_epoch(self, runner) -> None:
        """Workers start."""
        self.watchdog.note('start of an epoch', runner.iter, is_long=True)

    def before_train_iter(self, runner, batch_idx: int, data_batch: Any = None) -> None:
        """The batch is here."""
        self._in_step = True
        self.watchdog.note('training step', runner.iter, is_long=self._first)

    def after_train_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        """The counter of the runner moves after the hooks."""
        self._first = self._in_step = False
        self.watchdog.note(LOADING, runner.iter + 1)

    def after_train_epoch(self, runner) -> None:
        """Whatever follows an epoch."""
        self.watchdog.note('end of an epoch', runner.iter, is_long=True)

    def after_train(self, runner) -> None:
        """Whatever follows training."""
        self.watchdog.note('end of training', runner.iter, is_long=True)

    def before_write_checkpoint(self, runner) -> None:
        """Called on all ranks before any checkpoint is written."""
        self.watchdog.note('writing of a checkpoint', runner.iter + self._in_step, is_long=True)

    def _before_epoch(self, runner, mode: str = 'train') -> None:
        self.watchdog.note(f'start of {_NAMES[mode]}', runner.iter, is_long=True)

    def before_val_epoch(self, runner) -> None:
        """Validation begins."""
        self._before_epoch(runner, 'val')

    def before_test_epoch(self, runner) -> None:
        """Test begins."""
        self._before_epoch(runner, 'test')

    def _before_iter(self, runner, batch_idx: int, data_batch: Any = None, mode: str = 'train') -> None:
        self.watchdog.note(f'{_NAMES[mode]}, batch {batch_idx + 1}', runner.iter, is_long=batch_idx == 0)

    def _after_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: Any = None,
                    mode: str = 'train') -> None:
        loop = runner.val_loop if mode == 'val' else runner.test_loop
        is_last = batch_idx + 1 >= len(loop.dataloader)  # the metrics follow
        self.watchdog.note(f'{_NAMES[mode]}, after batch {batch_idx + 1}', runner.iter, is_long=is_last)

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Whatever follows a validation."""
        self.watchdog.note('end of validation', runner.iter, is_long=True)


_NAMES = dict(val='validation', test='test')
