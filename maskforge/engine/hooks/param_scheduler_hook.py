"""Steps the schedules."""
from mmengine.hooks import ParamSchedulerHook as _ParamSchedulerHook

from maskforge.registry import HOOKS


@HOOKS.register_module()
class ParamSchedulerHook(_ParamSchedulerHook):
    """MMEngine's hook; schedules start where the run is, and plateau schedules may monitor training losses."""

    def before_train(self, runner) -> None:
        """Bring every schedule to the run's epoch or iteration (also one that the checkpoint does not know)."""
        for schedule in _all(runner.param_schedulers):
            step = runner.epoch if schedule.by_epoch else runner.iter
            if hasattr(schedule, 'seek') and schedule.global_step != step:
                schedule.seek(step)
        self._last_validation = runner.iter

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Show the metrics to plateau schedules."""
        monitors = [getattr(schedule, 'monitor', '') for schedule in _all(runner.param_schedulers)]
        if metrics is not None and any(monitor.startswith('train_') for monitor in monitors):
            metrics = {**self._training_means(runner), **metrics}
        super().after_val_epoch(runner, metrics)

    def _training_means(self, runner) -> dict[str, float]:
        """Means of the training losses since the last validation, as ``train_<name>``."""
        window = max(runner.iter - self._last_validation, 1)
        self._last_validation = runner.iter
        return {key.replace('train/', 'train_'): float(buffer.mean(window))
                for key, buffer in runner.message_hub.log_scalars.items() if key.startswith('train/') and 'loss' in key}


def _all(schedulers) -> list:
    """Built schedules, whatever way they are grouped; nothing where only configs are there (a run without training)."""
    if isinstance(schedulers, dict):
        schedulers = [one for several in schedulers.values() for one in (several if isinstance(several, list) else [])]
    return [schedule for schedule in schedulers or [] if hasattr(schedule, 'step')]
