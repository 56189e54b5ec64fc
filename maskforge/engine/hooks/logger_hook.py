"""Console, log file, JSON lines and the visualization back ends."""
import json
from pathlib import Path
from typing import Any

from mmengine import dist
from mmengine.hooks import LoggerHook as _LoggerHook
from mmengine.runner import IterBasedTrainLoop

from maskforge.formats.atomic_file import write_atomically
from maskforge.registry import HOOKS


@HOOKS.register_module()
class LoggerHook(_LoggerHook):
    """MMEngine's hook without its lines of noise, with validations counted in the unit of the training loop, and with
    files that the main process alone writes.

    Args:
        interval: iterations between two lines.
        ignore_last: the last iterations of an epoch, fewer than ``interval``, get no line of their own. The last
            iteration of the run always gets one.
        interval_exp_name: iterations between lines with the run's name; None for no such lines.
        log_metric_by_epoch: metrics are logged over epochs (True), iterations (False), or what the loop counts (None).
        out_dir: copy the log files there at the end.
        keep_local: keep the originals of copied files.
        out_suffix: which files are copied.

    Raises:
        ValueError: an interval below 1.
    """

    def __init__(self, interval: int = 10, ignore_last: bool = True, interval_exp_name: int | None = None,
                 out_dir: str | Path | None = None, out_suffix=('.json', '.log', '.py', 'yaml'),
                 keep_local: bool = True, log_metric_by_epoch: bool | None = None):
        if interval < 1:
            raise ValueError(f'LoggerHook: interval must be at least 1, got {interval}.')
        super().__init__(interval, ignore_last, out_dir=out_dir, out_suffix=out_suffix, keep_local=keep_local)
        self.interval_exp_name = interval_exp_name
        self.log_metric_by_epoch = log_metric_by_epoch

    def after_train_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        """Log the iteration if it is due."""
        if self.interval_exp_name and self.every_n_train_iters(runner, self.interval_exp_name):
            runner.logger.info(f'Exp name: {runner.experiment_name}')
        if self._is_due(runner, batch_idx):
            tag, line = runner.log_processor.get_log_after_iter(runner, batch_idx, 'train')
            runner.logger.info(line)
            runner.visualizer.add_scalars(tag, step=runner.iter + 1, file_path=self.json_log_path)

    def _is_due(self, runner, batch_idx: int) -> bool:
        if self.every_n_inner_iters(batch_idx, self.interval) or runner.iter + 1 == runner.max_iters:
            return True
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            return False
        length = len(runner.train_dataloader)
        return batch_idx + 1 == length and (not self.ignore_last or length <= self.interval)

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Log the metrics."""
        tag, line = runner.log_processor.get_log_after_epoch(runner, len(runner.val_dataloader), 'val')
        runner.logger.info(line)
        runner.visualizer.add_scalars(tag, step=self._validation_step(runner), file_path=self.json_log_path)

    def _validation_step(self, runner) -> int:
        # asking the runner for its epoch would build the training loop in a run that only validates
        if runner._train_loop is None or isinstance(runner._train_loop, dict):
            return 0
        by_epoch = self.log_metric_by_epoch
        if by_epoch is None:
            by_epoch = not isinstance(runner.train_loop, IterBasedTrainLoop)
        return runner.epoch if by_epoch else runner.iter

    def after_test_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Log the metrics and write them to ``<timestamp>.json`` in the folder of the logs."""
        tag, line = runner.log_processor.get_log_after_epoch(runner, len(runner.test_dataloader), 'test',
                                                             with_non_scalar=True)
        runner.logger.info(line)
        # the file's name is the same on all ranks, their times are not: two writers left one's tail behind the other's
        if dist.is_main_process():
            content = json.dumps(self._process_tags(tag)).encode()
            write_atomically(Path(runner.log_dir) / self.json_log_path, content)

    def after_run(self, runner) -> None:
        """Close the visualization back ends; copy, or move, the logs to ``out_dir``."""
        if dist.is_main_process():
            super().after_run(runner)
        else:
            runner.visualizer.close()
