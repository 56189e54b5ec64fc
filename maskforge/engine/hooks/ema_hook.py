"""Exponential moving average of the weights."""
from typing import Any

from mmengine.hooks import EMAHook as _EMAHook

from maskforge.registry import HOOKS


@HOOKS.register_module()
class EMAHook(_EMAHook):
    """MMEngine's hook; checkpoints carry the averaged weights in ``state_dict`` and the live ones beside.

    Repaired: with gradient accumulation the average moves once per update, not once per iteration; a run that starts
    from other weights (of any key layout) averages from these; outside of a training the weights of the
    checkpoint, which are the averaged ones, are used as they are.

    Args:
        ema_type: ``'ExponentialMovingAverage'``, ``'MomentumAnnealingEMA'`` or ``'StochasticWeightAverage'``.
        strict_load: the checkpoint's average must have all keys.
        begin_iter, begin_epoch: until then the average is a copy.
        **kwargs: ``momentum``, ``interval``, ``update_buffers`` of the averaged model.
    """

    def __init__(self, ema_type: str = 'ExponentialMovingAverage', strict_load: bool = False, begin_iter: int = 0,
                 begin_epoch: int = 0, **kwargs):
        if begin_iter and begin_epoch:
            raise ValueError(f'EMAHook: give begin_iter or begin_epoch, not both (got {begin_iter}, {begin_epoch}).')
        super().__init__(ema_type, strict_load, begin_iter, begin_epoch, **kwargs)
        self._training = False
        self._resumed = False

    def before_sharding(self, runner) -> None:
        """Copy the model while it is whole; the copy is sharded as the model will be."""
        super().before_run(runner)
        runner.strategy.shard(self.ema_model.module)
        average = self.ema_model
        # sharding has put other parameters in their places
        average.avg_parameters = average.module.state_dict() if average.update_buffers \
            else dict(average.module.named_parameters())

    def before_run(self, runner) -> None:
        """Copy the model, unless that is done."""
        if not hasattr(self, 'ema_model'):
            super().before_run(runner)

    def after_load_checkpoint(self, runner, checkpoint: dict[str, Any]) -> None:
        """Restore the average of a resumed run."""
        if runner._resume:
            super().after_load_checkpoint(runner, checkpoint)
            self._resumed = True

    def before_train(self, runner) -> None:
        """Start from the present weights, unless the average was restored."""
        self._training = True
        if not self._resumed:
            self.ema_model.module.load_state_dict(self.src_model.state_dict())
        if self.enabled_by_epoch and self.begin_epoch > runner.max_epochs:
            raise ValueError(f'EMAHook: begin_epoch={self.begin_epoch} is behind the end of the training '
                             f'({runner.max_epochs} epochs).')
        if self.begin_iter > runner.max_iters:
            raise ValueError(f'EMAHook: begin_iter={self.begin_iter} is behind the end of the training '
                             f'({runner.max_iters} iterations).')

    def after_train(self, runner) -> None:
        """From here on the weights are used as they are."""
        self._training = False

    def after_train_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        """Move the average after an update of the weights."""
        if not getattr(runner.optim_wrapper, 'has_open_window', False):
            super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def _swap_ema_parameters(self) -> None:
        if self._training:
            super()._swap_ema_parameters()
