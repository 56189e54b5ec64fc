"""Training counted in epochs."""
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop as _EpochBasedTrainLoop
from torch import nn
from torch.utils.data import DataLoader

from maskforge.engine.data_loading import with_epoch_length
from maskforge.registry import LOOPS

from .train_loop import TrainLoop


@LOOPS.register_module()
class EpochBasedTrainLoop(TrainLoop, _EpochBasedTrainLoop):
    """Train for ``max_epochs`` passes over the data.

    A checkpoint from within an epoch continues there: the indices before it are skipped, not loaded. Windows of
    accumulated gradients end with their epoch; the last one is averaged over its own length.

    Args:
        runner, dataloader, val_begin, val_interval, dynamic_intervals: see :class:`TrainLoop`, in epochs.
        max_epochs: number of epochs.
        iters_per_epoch: iterations of an epoch, over all records in turn: an epoch takes up where the one before has
            stopped. (``train_dataloader.sampler.num_samples`` says the same in samples.) By default an epoch is one
            pass over the data.

    Raises:
        ValueError: a number out of range; no batches; ``iters_per_epoch`` with a sampler that cannot follow it.
    """

    unit = 'epoch'

    def __init__(self, runner, dataloader: DataLoader | dict, max_epochs: int, val_begin: int = 1,
                 val_interval: int = 1, dynamic_intervals: Sequence[tuple[int, int]] | None = None,
                 iters_per_epoch: int | None = None) -> None:
        if iters_per_epoch is not None:
            dataloader = with_epoch_length(dataloader, iters_per_epoch)
        super().__init__(runner, dataloader, val_begin=val_begin, val_interval=val_interval,
                         dynamic_intervals=dynamic_intervals)
        if int(max_epochs) != max_epochs or max_epochs < 0:
            raise ValueError(f'train_cfg.max_epochs must be a whole number, got {max_epochs}.')
        if len(self.dataloader) == 0:
            raise ValueError(f'train_dataloader gives no batches: its data set has {len(self.dataloader.dataset)} '
                             f'records. Check ann_file, filter_cfg, and drop_last against the batch size.')
        self._max_epochs = int(max_epochs)
        self._max_iters = self._max_epochs * len(self.dataloader)

    def run(self) -> nn.Module:
        """Train to the end; returns the model."""
        self.runner.call_hook('before_train')
        self._make_up_validation(self._epoch)
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate_if_due(self._epoch)
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """One epoch, or what is left of it after a resume."""
        length = len(self.dataloader)
        start = self._iter - self._epoch * length
        self.runner.call_hook('before_train_epoch')
        self.set_train_mode()
        # MMEngine asks the model only for a warning about BatchNorm, which the runner has given once
        self.runner.optim_wrapper.initialize_count_status(nn.Identity(), start, length)
        if start < length:
            for idx, data_batch in enumerate(self._batches(epoch=self._epoch, start=start), start):
                self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def position(self, *, epoch: int, iteration: int) -> dict[str, Any]:
        """Adds the length of an epoch, which changes with the data and the batch size."""
        return dict(super().position(epoch=epoch, iteration=iteration), iters_per_epoch=len(self.dataloader))

    def take_position(self, meta: Mapping[str, Any]) -> None:
        """Continue from a checkpoint; with epochs of another length, from the same share of the epoch."""
        super().take_position(meta)
        length = len(self.dataloader)
        before = meta.get('position', {}).get('iters_per_epoch', length)
        within = self._iter - self._epoch * before
        if before != length or not 0 <= within <= length:
            within = min(max(round(within / before * length), 0), length)
            old, self._iter = self._iter, self._epoch * length + within
            print_log(f'an epoch has {length} iterations now, {before} when the checkpoint was written: iteration '
                      f'{old} becomes {self._iter}, and the order of the data changes', 'current', 30)
