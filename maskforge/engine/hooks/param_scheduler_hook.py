"""Steps the schedules."""
from typing import Any

from mmengine.hooks import ParamSchedulerHook as _ParamSchedulerHook

from maskforge.registry import HOOKS

from .training_means import TrainingMeans


@HOOKS.register_module()
class ParamSchedulerHook(_ParamSchedulerHook):
    """MMEngine's hook; schedules start where the run is, and plateau schedules may monitor training losses.

    ``train_<name>`` is the mean of a training loss over all iterations since the last validation and over all
    processes. In a run without validation it is looked at after every epoch.
    """

    def __init__(self) -> None:
        self._watching: list[Any] = []
        self._every_epoch: list[Any] = []
        self._means = TrainingMeans()

    def before_train(self, runner) -> None:
        """Bring every schedule to the run's epoch or iteration (also one that the checkpoint does not know)."""
        schedules = _all(runner.param_schedulers)
        for schedule in schedules:
            step = runner.epoch if schedule.by_epoch else runner.iter
            if hasattr(schedule, 'seek') and schedule.global_step != step:
                schedule.seek(step)
        self._watching = [schedule for schedule in schedules if _monitor(schedule).startswith('train_')]
        self._means = TrainingMeans()
        validates = getattr(runner, 'val_loop', None) is not None
        self._every_epoch = [] if validates else self._watching
        idle = {_monitor(schedule) for schedule in schedules if _monitor(schedule)} if not validates else set()
        for monitor in sorted(name for name in idle if not name.startswith('train_')):
            runner.logger.warning(f"the schedule that monitors '{monitor}' has no effect: this run does not validate. "
                                  "Set val_cfg, val_dataloader and val_evaluator, or monitor 'train_loss'.")

    def after_train_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        """Step what counts iterations; note the losses if a schedule wants them."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if self._watching:
            self._means.add(runner.message_hub, outputs or {})

    def after_train_epoch(self, runner) -> None:
        """Step what counts epochs; without validation, show plateau schedules the epoch's losses."""
        super().after_train_epoch(runner)
        if self._every_epoch:
            means = self._means.take(runner.message_hub)
            for schedule in self._every_epoch:
                schedule.step(means)

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Show the metrics to plateau schedules."""
        if metrics is not None and self._watching:
            metrics = {**self._means.take(runner.message_hub), **metrics}
        super().after_val_epoch(runner, metrics)

    def before_write_checkpoint(self, runner) -> None:
        """Put the losses so far where the checkpoint finds them (called on all ranks)."""
        if self._watching:
            self._means.store(runner.message_hub)


def _monitor(schedule) -> str:
    return getattr(schedule, 'monitor', '') if getattr(schedule, 'need_val_args', False) else ''


def _all(schedulers) -> list:
    """Built schedules, whatever way they are grouped; nothing where only configs are there (a run without training)."""
    if isinstance(schedulers, dict):
        schedulers = [one for several in schedulers.values() for one in (several if isinstance(several, list) else [])]
    return [schedule for schedule in schedulers or [] if hasattr(schedule, 'step')]
