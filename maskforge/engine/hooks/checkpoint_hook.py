"""When checkpoints are written, and which are kept."""
import os
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmengine import dist
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import IterBasedTrainLoop
from torch import Tensor

from maskforge.checkpoints import is_whole, save_checkpoint, save_weights, write_atomically, write_last_checkpoint
from maskforge.checkpoints.leftovers import remove_leftovers
from maskforge.engine.background_writer import BackgroundWriter, staged
from maskforge.registry import HOOKS

from .best_checkpoints import BestCheckpoints
from .metric_rule import GREATER_KEYS, LESS_KEYS
from .published_checkpoint import write_published
from .validation_record import ValidationRecord


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Writes ``epoch_N.pth`` or ``iter_N.pth``, ``best_<metric>_epoch_N.pth`` and ``last_checkpoint``.

    A new file is written under a temporary name, checked, and named; then ``last_checkpoint`` names it, and only then
    are old ones removed. The best checkpoint is a hard link to the epoch's file where there is one.

    Args:
        interval: epochs or iterations between checkpoints; -1 for none but the last.
        by_epoch: count epochs; None asks the training loop.
        save_optimizer, save_param_scheduler: what goes in besides the weights.
        out_dir: folder for the checkpoints, below which one named like the work_dir is made; default the work_dir.
        max_keep_ckpts: how many to keep; -1 for all. The best ones are kept besides. Unless all are kept, the file that
            a signal left is removed when the next one is written after it.
        keep_interval: those of every so many epochs (or iterations) are kept besides; -1 for none.
        save_list: epochs or iterations after which one is written whatever ``interval`` says, and kept besides.
        save_last: write one at the end in any case.
        save_best: metric, metrics, or ``'auto'`` (the first metric of the validation).
        rule: ``'greater'`` or ``'less'`` is better, one for all metrics or one for each; None asks the names.
        greater_keys, less_keys: names for ``rule=None``.
        filename_tmpl: name with ``{}`` for the number.
        published_keys: at the end, also write ``<name>-<sha256>.pth`` with these keys of the last and best ones.
        save_begin: no checkpoints before this epoch or iteration.
        async_save: copy the state and write it in the background while the training goes on. The next save, the choice
            of the best, the end of the run and a signal to leave wait for it, and raise its error. Until the new file
            is whole, the one before stays and ``last_checkpoint`` names it.
        save_safetensors: beside each checkpoint, also write its weights alone as ``<name>.safetensors``.

    Raises:
        ValueError: an argument out of range.
        KeyError: ``save_best`` is not among the metrics; the message lists them.
        OSError: a checkpoint could not be written; the one before is still there.
    """

    priority = 'VERY_LOW'

    def __init__(self, interval: int = -1, by_epoch: bool | None = None, save_optimizer: bool = True,
                 save_param_scheduler: bool = True, out_dir: str | Path | None = None, max_keep_ckpts: int = -1,
                 save_last: bool = True, save_best: str | Sequence[str] | None = None,
                 rule: str | Sequence[str] | None = None, greater_keys: Sequence[str] = GREATER_KEYS,
                 less_keys: Sequence[str] = LESS_KEYS, filename_tmpl: str | None = None,
                 published_keys: str | Sequence[str] | None = None, save_begin: int = 0, keep_interval: int = -1,
                 save_list: Sequence[int] = (), async_save: bool = False, save_safetensors: bool = False):
        if save_begin < 0:
            raise ValueError(f'CheckpointHook: save_begin must not be negative, got {save_begin}.')
        if filename_tmpl is not None and '{}' not in filename_tmpl:
            raise ValueError(f'CheckpointHook: filename_tmpl needs {{}} for the number, got {filename_tmpl!r}: every '
                             'checkpoint would overwrite the one before.')
        self.interval, self.by_epoch, self.save_begin, self.save_last = interval, by_epoch, save_begin, save_last
        self.save_optimizer, self.save_param_scheduler = save_optimizer, save_param_scheduler
        self.out_dir, self.max_keep_ckpts, self.filename_tmpl = out_dir, max_keep_ckpts, filename_tmpl
        self.keep_interval, self.save_list = keep_interval, frozenset(save_list)
        self.published_keys = [published_keys] if isinstance(published_keys, str) else published_keys
        self.best = BestCheckpoints(save_best, rule, greater_keys=tuple(greater_keys), less_keys=tuple(less_keys))
        self.async_save, self.save_safetensors = async_save, save_safetensors
        self._writer = BackgroundWriter()
        self._pending: Path | None = None
        self._left_by_signal: Path | None = None
        self.last_ckpt: str | None = None
        self._whole: str | None = None
        self._last_step = -1
        self._training = False

    # the run ---------------------------------------------------------------------------------------------------------

    def after_load_checkpoint(self, runner, checkpoint: dict[str, Any]) -> None:
        """Note whether the run continues what a signal ended, in its own folder."""
        found = Path(getattr(runner, '_found', None) or '').resolve()
        meta = checkpoint.get('meta')
        if isinstance(meta, dict) and 'left_by' in meta and found.parent == Path(runner.work_dir).resolve():
            self._left_by_signal = found

    def before_train(self, runner) -> None:
        """Find the folder; take up the state of a resumed run."""
        self._training = True
        self._choose_unit(runner)
        folder = Path(runner.work_dir)
        if self.out_dir is not None and Path(self.out_dir) != folder:
            folder = Path(self.out_dir) / folder.name
            runner.logger.info(f'Checkpoints are written to {folder}.')
        self.folder = folder
        self._whole = getattr(runner, '_found', None)
        if dist.is_main_process() and (left := remove_leftovers(folder)):
            runner.logger.warning(f'removed {", ".join(left)} from {folder}: a run was killed while it wrote')
        self.record = ValidationRecord(folder)
        kept = runner.message_hub.get_info('keep_ckpt_ids', [])
        self._kept = [step for step in kept if isinstance(step, int)] if isinstance(kept, (list, tuple)) else []
        # what the run continues from: the newest checkpoint of this folder, or a file anywhere
        self.record.load(until=runner.iter, source=getattr(runner, '_found', None) or runner._load_from)
        self.record.restore(runner)
        self._take_up_last_file(runner)
        self.best.restore(runner.message_hub, folder)

    def _take_up_last_file(self, runner) -> None:
        """A run that continues from its last regular checkpoint and has nothing left to do does not write it again."""
        found, name = getattr(runner, '_found', None), self.filename_tmpl.format(
            runner.epoch if self.by_epoch else runner.iter)
        if found and Path(found).resolve() == (self.folder / name).resolve():
            self.last_ckpt, self._last_step = str(self.folder / name), runner.iter

    def _choose_unit(self, runner) -> None:
        by_iter = isinstance(runner.train_loop, IterBasedTrainLoop)
        if self.by_epoch is None:
            self.by_epoch = not by_iter
        elif self.by_epoch and by_iter:
            runner.logger.warning('CheckpointHook counts epochs (by_epoch=True), but the training loop counts '
                                  'iterations: only the end of the run is saved. Set by_epoch=False.')
        suffix = getattr(getattr(runner, 'strategy', None), 'checkpoint_suffix', '.pth')
        if not suffix and (self.async_save or self.save_safetensors):
            runner.logger.warning('CheckpointHook: async_save and save_safetensors do nothing for checkpoints in parts')
        self.filename_tmpl = self.filename_tmpl or ('epoch_{}' if self.by_epoch else 'iter_{}') + suffix

    def after_train_epoch(self, runner) -> None:
        """Write the checkpoint of the epoch if it is due."""
        if self.by_epoch and (self.every_n_epochs(runner, self.interval, self.save_begin)
                              or runner.epoch + 1 in self.save_list
                              or (self.save_last and self.is_last_train_epoch(runner))):
            self._save(runner, runner.epoch + 1, dict(epoch=runner.epoch + 1, iter=runner.iter))

    def after_train_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        """Write the checkpoint of the iteration if it is due."""
        if not self.by_epoch and (self.every_n_train_iters(runner, self.interval, self.save_begin)
                                  or runner.iter + 1 in self.save_list
                                  or (self.save_last and self.is_last_train_iter(runner))):
            self._save(runner, runner.iter + 1, dict(epoch=runner.epoch, iter=runner.iter + 1))

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Keep the checkpoint if it is the best so far."""
        if self._training and metrics:
            improved = self.best.update(runner.message_hub, metrics)
            if improved:
                self._save_best(runner, improved)

    def after_val(self, runner) -> None:
        """Note what the validation changed, when all hooks have seen its metrics."""
        if self._training:
            self.record.write(runner)

    def after_train(self, runner) -> None:
        """Write the last checkpoint of a run that ended early, and the published files."""
        self._training = False
        if self.save_last and self._last_step != runner.iter and runner.iter > 0:
            self._save_early_end(runner)
        self._settle()
        if self.published_keys is None or not dist.is_main_process():
            return
        last = [self.last_ckpt] if self.save_last and self.last_ckpt else []
        for path in dict.fromkeys([*last, *self.best.paths()]):
            published = write_published(path, self.published_keys)
            runner.logger.info(f'Published {path} as {published}.')

    def after_leaving_checkpoint(self, runner, path: Path) -> None:
        """A signal has ended the run again, before a checkpoint was due."""
        if dist.is_main_process():
            for one in self._surpassed(path):
                _remove_files(one)

    def _surpassed(self, path: Path) -> list[Path]:
        """What an earlier signal left, for removal: ``path`` takes its place."""
        one, self._left_by_signal = self._left_by_signal, None
        return [one] if one and one != path.resolve() and self.max_keep_ckpts > 0 else []

    def before_write_checkpoint(self, runner) -> None:
        """Wait for the file that is written in the background, whoever writes the next."""
        self._settle()

    def release(self) -> None:
        """Wait for the background in a run that ends with an error; the runner calls this."""
        if error := self._writer.wait():
            print_log(f'a checkpoint could not be written in the background: {error}', 'current', 40)

    def _save_early_end(self, runner) -> None:
        meta = dict(epoch=runner.epoch, iter=runner.iter)
        if not self.by_epoch:
            self._save(runner, runner.iter, meta)
        elif runner.iter == runner.epoch * len(runner.train_dataloader):  # not in the middle of an epoch
            self._save(runner, runner.epoch, meta)

    # writing ---------------------------------------------------------------------------------------------------------

    def _save(self, runner, step: int, meta: dict[str, int]) -> None:
        path = self.folder / self.filename_tmpl.format(step)
        runner.logger.info(f'Saving {path.name}')
        steps = list(dict.fromkeys([*self._kept, step]))
        dropped = steps[:-self.max_keep_ckpts] if self.max_keep_ckpts > 0 else []
        # the file itself knows which files will be there beside it, but for those that are never removed
        self._kept = [one for one in steps if one not in dropped and not self._is_kept_for_good(one)]
        runner.message_hub.update_info('keep_ckpt_ids', list(self._kept))
        runner.message_hub.update_info('last_ckpt', str(path))
        old = [self.folder / self.filename_tmpl.format(number) for number in dropped] + self._surpassed(path)
        self._write(runner, path, meta, partial(_switch, runner.work_dir, path, old),
                    save_optimizer=self.save_optimizer, save_param_scheduler=self.save_param_scheduler)
        self.last_ckpt, self._last_step = str(path), meta['iter']

    def _is_kept_for_good(self, step: int) -> bool:
        return step in self.save_list or (self.keep_interval > 0 and step % self.keep_interval == 0)

    def _write(self, runner, path: Path, meta: dict[str, int], conclude: Callable[[], None], **options: Any) -> None:
        """Write and check a checkpoint on all ranks together, then ``conclude``; if it fails, all of them raise."""
        runner.call_hook('before_write_checkpoint')  # on all ranks, unlike `before_save_checkpoint`
        if self.async_save or self.save_safetensors:
            options['write'] = partial(self._write_files, conclude)
        error: Exception | None = None
        try:
            runner.save_checkpoint(str(path.parent), path.name, meta=meta, by_epoch=False, **options)
            if dist.is_main_process() and not self._writer.busy:
                self._check(path, conclude)
        except (OSError, RuntimeError) as caught:
            if str(caught).startswith('DataLoader worker'):  # torch raises this anywhere, also within a collective
                raise
            error = caught
        self._raise_together(error, path)

    def _write_files(self, conclude: Callable[[], None], checkpoint: dict[str, Any], path: Path) -> None:
        if not self.async_save:
            _write_both(checkpoint, path, weights=self.save_safetensors)
            return
        copy = staged(checkpoint)

        def write_and_check() -> None:
            _write_both(copy, path, weights=self.save_safetensors)
            self._check(path, conclude)

        self._pending = path
        self._writer.start(write_and_check)

    def _check(self, path: Path, conclude: Callable[[], None]) -> None:
        """Only a file that reads back whole takes the place of the one before."""
        if not is_whole(path):
            raise OSError('the file that was written does not read back whole')
        conclude()
        self._whole = str(path)

    def _settle(self) -> None:
        """Wait for the background; if it failed, all ranks raise."""
        if self.async_save:
            error = self._writer.wait()
            self._raise_together(error, self._pending)

    def _raise_together(self, error: BaseException | None, path: Path | None) -> None:
        told = [None if error is None else _describe(path, error, self._whole)]
        dist.broadcast_object_list(told)
        if told[0] is not None:
            raise OSError(told[0]) from error

    def _save_best(self, runner, improved: list[str]) -> None:
        self._settle()
        name = self.filename_tmpl.format(runner.epoch if self.by_epoch else runner.iter)
        source = Path(self.last_ckpt) if self.last_ckpt and self._last_step == runner.iter else None
        for key in improved:
            target = self.folder / f'best_{key.replace("/", "_")}_{name}'
            if source is None:
                self._write(runner, target, dict(epoch=runner.epoch, iter=runner.iter), _nothing,
                            save_optimizer=False, save_param_scheduler=False)
                self._settle()
                source = target
            elif dist.is_main_process():
                for one, other in zip(_files_of(source), _files_of(target)):
                    if one.exists():
                        link_or_copy(one, other)
            old = self.best.move(runner.message_hub, key, target)
            if old and old != target and dist.is_main_process():
                _remove_files(old)
            runner.logger.info(f'{target.name}: the best {key} so far, {self.best.score(key):.4f}')


def _nothing() -> None:
    """The best checkpoint is no place to continue from."""


def _switch(work_dir: str, path: Path, old: Sequence[Path]) -> None:
    write_last_checkpoint(work_dir, path)
    for one in old:
        _remove_files(one)


def _write_both(checkpoint: dict[str, Any], path: Path, *, weights: bool) -> None:
    if weights:
        tensors = {name: value for name, value in checkpoint['state_dict'].items() if isinstance(value, Tensor)}
        save_weights(tensors, _files_of(path)[1])
    save_checkpoint(checkpoint, path)


def _files_of(path: Path) -> tuple[Path, Path]:
    """A checkpoint, and its weights alone."""
    return path, path.with_suffix('.safetensors')


def _remove_files(path: Path) -> None:
    for one in _files_of(path):
        _remove(one)


def _describe(path: Path, problem: BaseException, last: str | None) -> str:
    before = f'the checkpoint before is still there: {last}' if last else 'there is no earlier one of this run'
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free / 2**20
    return (f'The checkpoint {path} could not be written: {problem}. {folder} has {free:.0f} MiB free; {before}. '
            'Free some space or set default_hooks.checkpoint.max_keep_ckpts, then continue with --resume.')


def _remove(path: Path) -> None:
    if path.is_dir():  # sharded checkpoints are folders
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``, or a copy where the file system has no hard links."""
    temporary = target.with_name(f'.{target.name}.link')
    if source.is_dir():  # a checkpoint in parts
        _remove(temporary)
        temporary.mkdir()
        for part in source.iterdir():
            link_or_copy(part, temporary / part.name)
        _remove(target)
        os.replace(temporary, target)
        return
    try:
        temporary.unlink(missing_ok=True)
        os.link(source, temporary)
        os.replace(temporary, target)
    except OSError:
        with open(source, 'rb') as stream:
            write_atomically(target, lambda out: shutil.copyfileobj(stream, out))
