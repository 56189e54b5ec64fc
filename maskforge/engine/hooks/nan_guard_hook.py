"""Noticing at once that the training has diverged, and saying where."""
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine import dist
from mmengine.hooks import Hook
from torch import Tensor

from maskforge.registry import HOOKS

_META = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction')


class _Snapshot(NamedTuple):
    """Losses of one iteration on their way to the host."""

    iteration: int
    epoch: int
    names: list[str]
    values: Tensor  # the losses, then the rank + 1 of a process with a bad one (0: all is well)
    arrived: Any    # CUDA event, or None on the CPU
    batch: list[dict[str, Any]]


@HOOKS.register_module()
class NaNGuardHook(Hook):
    """Reports losses that are NaN or infinite: iteration, loss term, images.

    The values travel to the host while the next iteration runs and are read one iteration later (and before any
    checkpoint is written), so the device never waits. All processes learn of a bad loss in any of them.

    Args:
        action: ``'raise'`` ends the run with an error on all ranks; ``'warn'`` goes on.
        tolerance: bad iterations in a row that are let pass with a warning. With ``float16`` an overflow now and
            then is harmless, since the loss scaler skips the update.

    Raises:
        ValueError: unknown action or negative tolerance.
        FloatingPointError: with ``action='raise'``, at a bad loss.
    """

    priority = 'HIGH'

    def __init__(self, action: str = 'raise', tolerance: int = 0):
        if action not in ('raise', 'warn'):
            raise ValueError(f"NaNGuardHook: action must be 'raise' or 'warn', got {action!r}.")
        if tolerance < 0:
            raise ValueError(f'NaNGuardHook: tolerance must not be negative, got {tolerance}.')
        self.action, self.tolerance = action, tolerance
        self._pending: _Snapshot | None = None
        self._in_a_row = 0

    def after_train_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        """Check the iteration before; send this one's losses off."""
        self._check(runner)
        losses = {name: value for name, value in (outputs or {}).items()
                  if isinstance(value, Tensor) and value.numel() == 1}
        if losses:
            self._pending = self._send(runner, losses, data_batch)

    def before_write_checkpoint(self, runner) -> None:
        """Keep bad weights out of checkpoints (called by ``CheckpointHook`` on all ranks)."""
        self._check(runner)

    def after_train_epoch(self, runner) -> None:
        """Check the epoch's last iteration."""
        self._check(runner)

    def _send(self, runner, losses: dict[str, Tensor], data_batch: Any) -> _Snapshot:
        values = torch.stack([value.detach().reshape(()).float() for value in losses.values()])
        bad_rank = (~values.isfinite()).any().float() * (dist.get_rank() + 1)
        if dist.get_world_size() > 1:
            dist.all_reduce(bad_rank, 'max')
        both = torch.cat([values, bad_rank[None]])
        arrived = None
        if both.is_cuda:
            both = torch.empty_like(both, device='cpu', pin_memory=True).copy_(both, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
        return _Snapshot(runner.iter + 1, runner.epoch + 1, list(losses), both, arrived, _describe(data_batch))

    def _check(self, runner) -> None:
        snapshot, self._pending = self._pending, None
        if snapshot is None:
            return
        if snapshot.arrived is not None:
            snapshot.arrived.synchronize()
        *values, bad_rank = snapshot.values.tolist()
        if bad_rank == 0:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        message = self._report(runner, snapshot, dict(zip(snapshot.names, values)), int(bad_rank) - 1)
        if self.action == 'raise' and self._in_a_row > self.tolerance:
            raise FloatingPointError(message)
        runner.logger.warning(message)

    def _report(self, runner, snapshot: _Snapshot, losses: dict[str, float], bad_rank: int) -> str:
        where = f'iteration {snapshot.iteration} (epoch {snapshot.epoch})'
        bad = {name: value for name, value in losses.items() if value - value != 0}
        if not bad:
            return f'A loss is not finite at {where} on rank {bad_rank}; its message names the term and the images.'
        # the sum is named only where no term is
        terms = {name: value for name, value in bad.items() if name != 'loss'} or bad
        path = Path(runner.work_dir) / f'bad_loss_iter_{snapshot.iteration}_rank_{dist.get_rank()}.json'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dict(iteration=snapshot.iteration, epoch=snapshot.epoch, rank=dist.get_rank(),
                                        losses={name: repr(value) for name, value in losses.items()},
                                        batch=snapshot.batch), indent=1, default=str), encoding='utf-8')
        images = ', '.join(str(entry.get('img_path') or entry.get('img_id')) for entry in snapshot.batch) or 'unknown'
        return (f'{", ".join(f"{name} is {value}" for name, value in terms.items())} at {where} on rank '
                f'{dist.get_rank()}. Images: {images}. All losses and the batch are in {path}. Usual remedies: a lower '
                'learning rate, a longer warm-up, optim_wrapper.clip_grad, a look at these images\' annotations.')


def _describe(data_batch: Any) -> list[dict[str, Any]]:
    """Which images the batch holds; no tensors, which would keep the batch in memory."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    if not isinstance(samples, (list, tuple)):
        return []
    return [{key: sample.metainfo[key] for key in _META if key in sample.metainfo}
            for sample in samples if hasattr(sample, 'metainfo')]
