"""Training counted in iterations."""
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.runner import IterBasedTrainLoop as _IterBasedTrainLoop
from torch import nn
from torch.utils.data import DataLoader

from maskforge.registry import LOOPS

from .train_loop import TrainLoop


@LOOPS.register_module()
class IterBasedTrainLoop(TrainLoop, _IterBasedTrainLoop):
    """Train for ``max_iters`` iterations on an endless stream; a finite sampler is passed over again and again.

    Args:
        runner, dataloader, val_begin, val_interval, dynamic_intervals: see :class:`TrainLoop`, in iterations.
        max_iters: number of iterations.
    """

    unit = 'iteration'

    def __init__(self, runner, dataloader: DataLoader | dict, max_iters: int, val_begin: int = 1,
                 val_interval: int = 1000, dynamic_intervals: Sequence[tuple[int, int]] | None = None) -> None:
        super().__init__(runner, dataloader, val_begin=val_begin, val_interval=val_interval,
                         dynamic_intervals=dynamic_intervals)
        if int(max_iters) != max_iters or max_iters < 0:
            raise ValueError(f'train_cfg.max_iters must be a whole number, got {max_iters}.')
        self._max_iters = int(max_iters)
        self._max_epochs = 1  # the run counts as one epoch for hooks, as in MMEngine
        self._passes = self._batch = 0

    def run(self) -> nn.Module:
        """Train to the end; returns the model."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        self._make_up_validation(self._iter)
        self.set_train_mode()
        stream = self._stream()
        while self._iter < self._max_iters and not self.stop_training:
            self.run_iter(self._iter, next(stream))
            if self._is_due(self._iter):
                self._validate_if_due(self._iter)
                self.set_train_mode()
        stream.close()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _stream(self) -> Iterator[Any]:
        while True:
            start, seen = self._batch, 0
            for data_batch in self._batches(epoch=self._passes, start=start):
                self._batch += 1
                seen += 1
                yield data_batch
            if seen == 0 and start == 0:
                raise ValueError(f'train_dataloader gives no batches: its data set has '
                                 f'{len(self.dataloader.dataset)} records. Check ann_file and filter_cfg.')
            self._passes, self._batch = self._passes + 1, 0

    def position(self, *, epoch: int, iteration: int) -> dict[str, Any]:
        """Adds the place in the data: passes that are complete, batches of the present one."""
        return dict(super().position(epoch=epoch, iteration=iteration), passes=self._passes, batch=self._batch)

    def take_position(self, meta: Mapping[str, Any]) -> None:
        """Continue from a checkpoint; after a change of batch size or processes, from the same number of samples."""
        super().take_position(meta)
        position = meta.get('position', {})
        self._passes = int(position.get('passes', 0))
        # checkpoints of MMEngine do not have it: there the stream is endless
        batch = int(position.get('batch', self._iter))
        before, now = meta.get('batch_over_all_ranks'), self.runner.batch_over_all_ranks
        self._batch = batch if not before or before == now else batch * before // now
