"""What the two training loops share: counters, validation times, one iteration."""
import bisect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.logging import print_log
from mmengine.runner import BaseLoop
from torch.utils.data import DataLoader

from maskforge.engine.data_loading import set_epoch, skip_batches
from maskforge.engine.model_preparation import set_train_mode


class TrainLoop(BaseLoop):
    """Base of the training loops.

    Args:
        runner: the runner.
        dataloader: loader or its config.
        val_begin: first epoch (or iteration) after which validation runs.
        val_interval: epochs (or iterations) between validations; the last one is always validated.
        dynamic_intervals: pairs (milestone, interval): from that epoch (iteration) on, the interval is this one.

    Attributes:
        stop_training: set to True by hooks (early stopping) to end after the present epoch (iteration).
    """

    unit: str

    def __init__(self, runner, dataloader: DataLoader | dict, *, val_begin: int, val_interval: int,
                 dynamic_intervals: Sequence[tuple[int, int]] | None) -> None:
        BaseLoop.__init__(self, runner, dataloader)  # MMEngine's loops, next in line, would start their workers
        if val_interval < 1:
            raise ValueError(f'train_cfg.val_interval must be at least 1, got {val_interval}.')
        self.val_begin, self.val_interval = val_begin, val_interval
        pairs = [(0, val_interval), *sorted(map(tuple, dynamic_intervals or ()))]
        self.dynamic_milestones = [milestone for milestone, _ in pairs]
        self.dynamic_intervals = [interval for _, interval in pairs]
        self.stop_training = False
        self._epoch = self._iter = 0
        self._max_epochs = self._max_iters = 0
        self._validation_pending = False
        self._validated: int | None = None
        self._recorded: int | None = None
        runner.adopt_dataset(self.dataloader, 'train_dataloader')

    @property
    def max_epochs(self) -> int:
        """Epochs of the whole run."""
        return self._max_epochs

    @property
    def max_iters(self) -> int:
        """Iterations of the whole run."""
        return self._max_iters

    @property
    def epoch(self) -> int:
        """Epochs that are complete."""
        return self._epoch

    @property
    def iter(self) -> int:
        """Iterations that are complete."""
        return self._iter

    # position ----------------------------------------------------------------------------------------------------

    def position(self, *, epoch: int, iteration: int) -> dict[str, Any]:
        """What a checkpoint at these counters must know of the loop, besides them."""
        done = epoch if self.unit == 'epoch' else iteration
        complete = self.unit == 'iteration' or iteration == epoch * len(self.dataloader)
        return dict(validation_pending=bool(complete and self._is_due(done) and self._validated != done))

    def take_position(self, meta: Mapping[str, Any]) -> None:
        """Continue from the counters of a checkpoint's ``meta``."""
        self._epoch, self._iter = int(meta['epoch']), int(meta['iter'])
        self._validation_pending = bool(meta.get('position', {}).get('validation_pending'))

    def _batches(self, *, epoch: int, start: int) -> Iterator[Any]:
        """Batches of one pass over the data, the first ``start`` left out as indices."""
        set_epoch(self.dataloader, epoch)
        skip_by_loading = 0
        if not skip_batches(self.dataloader, start):
            skip_by_loading = start
            print_log(f'this data loader was built outside the config and can only be advanced by loading {start} '
                      f'batches again', 'current', 30)
        for number, batch in enumerate(self.dataloader):
            if number < skip_by_loading:
                continue
            self.runner.restore_randomness()
            yield batch

    # steps -------------------------------------------------------------------------------------------------------

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """One training step with its hooks; ``idx`` counts from 0 within the epoch (the run, by iterations)."""
        self.runner.call_hook('before_train_iter', batch_idx=idx, data_batch=data_batch)
        outputs = self.runner.model.train_step(data_batch, optim_wrapper=self.runner.optim_wrapper)
        self.runner.call_hook('after_train_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs)
        self._iter += 1

    def set_train_mode(self) -> None:
        """Switch the model to training, but for its frozen parts."""
        set_train_mode(self.runner.model, self.runner.frozen_modules)

    def _is_due(self, done: int) -> bool:
        """Whether validation follows after ``done`` epochs (iterations)."""
        if self.runner.val_loop is None or done < self.val_begin or done == 0:
            return False
        last = self._max_epochs if self.unit == 'epoch' else self._max_iters
        # MMEngine looks up the interval of the step that comes next
        step = bisect.bisect(self.dynamic_milestones, done + 1)
        self.val_interval = self.dynamic_intervals[step - 1]
        return done % self.val_interval == 0 or done == last

    def _validate_if_due(self, done: int) -> None:
        if self._is_due(done) and self._validated != done and self._recorded != self._iter:
            self.runner.val_loop.run()
            self._validated = done

    def _make_up_validation(self, done: int) -> None:
        """After a resume: validate if the run ended between its checkpoint and the end of the validation.

        A checkpoint of the last iteration of an epoch is before the epoch's end: there the validation comes by itself,
        and must not be done again either.
        """
        records = [hook.record for hook in self.runner.hooks if hasattr(hook, 'record')]
        if any(str(self._iter) in record.read() for record in records):
            self._recorded = self._iter
        elif self._validation_pending:
            self._validate_if_due(done)
        self._validation_pending = False
