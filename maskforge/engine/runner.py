"""The runner: MMEngine's, with what breaks on today's PyTorch or loses exactness repaired by overriding."""
import copy
import os
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_distributed, is_main_process, sync_random_seed
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, set_random_seed
from mmengine.runner import Runner as _Runner
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

from maskforge.checkpoints import (
    adopt_config_key,
    find_latest,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    translate,
    unwrap,
    without_names,
)
from maskforge.layers.lora import build_model, merge_lora
from maskforge.registry import LOG_PROCESSORS, LOOPS, MODELS, RUNNERS, SCOPE, VISUALIZERS

from .checkpoint_storage import put_elsewhere
from .class_count import check_class_count
from .data_loading import batch_size_of, build_dataloader
from .distributed import init_dist
from .hooks.checkpoint_hook import CheckpointHook
from .hooks.signal_hook import SignalHook
from .interruption import Interruption, save_and_leave, window_is_shared
from .learning_rate_scaling import scale_to_batch
from .memory_reuse import reuse_freed_memory
from .model_preparation import accepts_argument, compile_modules, freeze_modules, unwrapped
from .random_state import checked_seed
from .resume import named_part, resume_run
from .run_environment import environment_facts, unique_timestamp, with_safe_text
from .strategies import build_strategy
from .training_state import collect_checkpoint, gather_random_states, plain, restore_own_random_state
from .watchdog import watched

_ONE_WAY = "write train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=12) or dict(type='IterBasedTrainLoop', " \
           'max_iters=90000)'


@RUNNERS.register_module()
class Runner(_Runner):
    """Drives training, validation, test and export.

    Arguments are MMEngine's (``mmengine.runner.Runner``), normally all from a config by :meth:`from_cfg`. Beyond them:

    - ``resume``: False; True (the file ``load_from``, or the newest checkpoint of ``work_dir``); a path; or 'auto'
      (the newest checkpoint of ``work_dir`` if there is one, else the weights of ``load_from``).
    - ``cfg.freeze`` or ``model.freeze``: dotted names of modules to leave out of training.
    - ``cfg.compile``: True or ``dict(modules=['backbone'], **options)``: submodules for ``torch.compile``.
    - ``cfg.load_min_matched``: least share of the model's tensors that ``load_from`` must fill, 0.5 by default.
    - ``cfg.export_cfg``: loop of :meth:`export`.
    """

    def __init__(self, model: nn.Module | dict, work_dir: str, *, resume: bool | str = False,
                 load_from: str | None = None, launcher: str = 'none', env_cfg: dict | None = None,
                 randomness: dict | None = None, default_scope: str = SCOPE, cfg: Config | dict | None = None,
                 **settings) -> None:
        adopt_config_key((cfg or {}).get('encryption_key'))
        self.interruption = Interruption()
        self.frozen_modules: list[nn.Module] = []
        self._frozen_names: list[str] = []
        self._is_training = self._initialised = False
        self._random_states: list[dict] | None = None
        self._notes: list[str] = []
        self._auto_resume = resume == 'auto'
        if isinstance(resume, str) and resume != 'auto':
            resume, load_from = True, resume
        super().__init__(model, work_dir, resume=bool(resume), load_from=load_from, launcher=launcher,
                         env_cfg=env_cfg or {}, randomness=dict(randomness or {}), default_scope=default_scope,
                         cfg=None if cfg is None else with_safe_text(cfg), **settings)

    @classmethod
    def from_cfg(cls, cfg: Config | dict) -> 'Runner':
        """Build a runner from a config.

        ``work_dir`` defaults to ``work_dirs/<config name>``, the scope of the registries to maskforge.

        Raises:
            ValueError: the config has no model.
        """
        cfg = copy.deepcopy(cfg)
        if cfg.get('model') is None:
            raise ValueError("the config has no 'model': begin it with _base_ = ['maskforge::_base_/...'] or write "
                             "model=dict(type='MaskRCNN', ...)")
        name = getattr(cfg, 'filename', None)
        defaults = dict(work_dir=os.path.join('work_dirs', Path(name).stem if name else 'run'), default_scope=SCOPE,
                        env_cfg={}, randomness={})
        for key, value in defaults.items():
            if cfg.get(key) is None:
                cfg[key] = value
        return super().from_cfg(cfg)

    # the machine -------------------------------------------------------------------------------------------------

    def setup_env(self, env_cfg: dict) -> None:
        """Join the other processes on whatever devices there are; name the run."""
        if self.distributed and not is_distributed():
            self._notes += init_dist(self.launcher, **dict(env_cfg.get('dist_cfg') or {}))
        reuse_freed_memory()
        super().setup_env(env_cfg)
        self._timestamp = unique_timestamp(self.work_dir)

    def set_randomness(self, seed: int | None = None, diff_rank_seed: bool = False,
                       deterministic: bool = False) -> None:
        """Seed everything. ``self.seed`` is equal on all ranks, also with ``diff_rank_seed``; samplers need that."""
        seed = sync_random_seed() if seed is None else checked_seed(seed)
        if deterministic:
            os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
        set_random_seed(seed, deterministic=deterministic, diff_rank_seed=diff_rank_seed)
        self._seed, self._deterministic = seed, deterministic

    def _log_env(self, env_cfg: dict) -> None:
        facts = dict(environment_facts(), seed=self.seed, processes=self.world_size, launcher=self.launcher,
                     work_dir=self.work_dir)
        width = max(map(len, facts))
        self.logger.info('\n'.join(['Run:', *(f'    {key:<{width}}  {value}' for key, value in facts.items())]))
        for note in self._notes:
            self.logger.warning(note)

    @cached_property
    def config_text(self) -> str:
        """The merged config as a Python file; formatted once."""
        return self.cfg.pretty_text

    def get_hooks_info(self) -> str:
        """One line: the hooks in the order in which they run."""
        return ', '.join(type(hook).__name__ for hook in self.hooks)

    def register_default_hooks(self, hooks: dict | None = None) -> None:
        """MMEngine's default hooks, :class:`SignalHook` and :class:`BrokenRecordsHook`.

        ``default_hooks=dict(signal=None)`` or ``dict(broken_records=None)`` leaves one of ours out.
        """
        own = dict(signal=dict(type='SignalHook'), broken_records=dict(type='BrokenRecordsHook'))
        hooks = {**own, **(hooks or {})}
        hooks = {name: hook for name, hook in hooks.items() if hook is not None or name not in own}
        super().register_default_hooks(hooks)

    def build_log_processor(self, log_processor: Any) -> Any:
        """Build the log processor; the default type is ours."""
        if isinstance(log_processor, dict):
            return LOG_PROCESSORS.build(dict(dict(type='LogProcessor'), **log_processor))
        return super().build_log_processor(log_processor)

    def build_visualizer(self, visualizer: Visualizer | dict | None = None) -> Visualizer:
        """Build the visualizer; one of the same name from an earlier run of this process is not taken over."""
        if isinstance(visualizer, dict):
            visualizer = dict(visualizer)
            name = visualizer.get('name', self.experiment_name)
            taken = VISUALIZERS.get(visualizer.get('type', 'Visualizer')).check_instance_created(name)
            visualizer.update(name=f'{name}_{self.experiment_name}' if taken else name)
        return super().build_visualizer(visualizer)

    # model -------------------------------------------------------------------------------------------------------

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the model; its ``freeze`` is the runner's unless its class has an argument of that name.

        ``lora`` in its config makes low-rank additions, see :func:`maskforge.layers.lora.build_model`.
        """
        if isinstance(model, dict):
            model = copy.deepcopy(model)
            if 'freeze' in model and not accepts_argument(MODELS.get(model['type']), 'freeze'):
                self._frozen_names = list(model.pop('freeze') or ())
            return build_model(model)
        return super().build_model(model)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Freeze what is to be frozen, move the model to its device, wrap it for several processes."""
        names = [*(self.cfg.get('freeze') or ()), *self._frozen_names]
        if not is_model_wrapper(model):
            self.frozen_modules = freeze_modules(model, names)
        self.strategy = build_strategy(self.cfg.get('strategy'), sync_bn=self.cfg.get('sync_bn'),
                                       find_unused_parameters=self.cfg.get('find_unused_parameters', False))
        return self.strategy.wrap(model, model_wrapper_cfg, distributed=self.distributed)

    def initialise_weights(self) -> None:
        """Initialise the model as its config says, once; all processes get rank 0's weights."""
        # a resumed model gets every weight from the checkpoint: nothing need be downloaded for it
        if not self._initialised and self._resume_source() is None:
            super()._init_model_weights()
        self._initialised = True

    def _init_model_weights(self) -> None:
        self.initialise_weights()  # a strategy may have done it before the optimizer was built

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Build the optimizer with its wrapper, as the strategy needs it."""
        built = super().build_optim_wrapper(optim_wrapper)
        self.strategy.adopt_optimizer(built)
        return built

    def _maybe_compile(self, target: str) -> None:
        del target  # MMEngine compiles the whole training step with its optimizer; we compile submodules
        names = compile_modules(unwrapped(self.model), self.cfg.get('compile'))
        if names:
            self.logger.info(f'torch.compile is on for {", ".join(names)}: the first iterations are slow')

    def adopt_dataset(self, dataloader: DataLoader, key: str) -> dict | None:
        """Check the heads against the data set's classes and make its metainfo known to model and visualizer.

        Returns:
            The metainfo, None where the data set has none.
        """
        metainfo = getattr(dataloader.dataset, 'metainfo', None)
        if metainfo is None:
            return None
        model = unwrapped(self.model)
        check_class_count(model, metainfo, f'{key}.dataset')
        model.dataset_meta = metainfo
        self.visualizer.dataset_meta = metainfo
        return metainfo

    # data and loops ----------------------------------------------------------------------------------------------

    @staticmethod
    def build_dataloader(dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False, *,
                         evaluation: bool = False) -> DataLoader:
        """Build a loader of seeded samples; see :func:`maskforge.engine.data_loading.build_dataloader`."""
        del diff_rank_seed  # our seed is equal on all ranks either way
        return build_dataloader(dataloader, seed=sync_random_seed() if seed is None else seed, evaluation=evaluation)

    @property
    def batch_over_all_ranks(self) -> int:
        """Samples of one iteration over all processes."""
        return self.world_size * batch_size_of(self.train_dataloader)

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the training loop from ``train_cfg``.

        Raises:
            ValueError: neither, or both, of ``type`` and ``by_epoch`` are given.
        """
        if not isinstance(loop, dict):
            return super().build_train_loop(loop)
        cfg = copy.deepcopy(loop)
        if ('type' in cfg) == ('by_epoch' in cfg):
            raise ValueError(f"train_cfg needs either 'type' or 'by_epoch', got {dict(cfg)}: {_ONE_WAY}.")
        if 'by_epoch' in cfg:
            cfg['type'] = 'EpochBasedTrainLoop' if cfg.pop('by_epoch') else 'IterBasedTrainLoop'
        return LOOPS.build(cfg, default_args=dict(runner=self, dataloader=self._train_dataloader))

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the validation loop from ``val_cfg``; the default type is :class:`ValLoop`."""
        return super().build_val_loop(_with_type(loop, 'ValLoop'))

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the test loop from ``test_cfg``; the default type is :class:`TestLoop`."""
        return super().build_test_loop(_with_type(loop, 'TestLoop'))

    def train(self) -> nn.Module:
        """Train; returns the model."""
        self._is_training = True
        adopt_config_key(self.cfg.get('encryption_key'), writes=True)
        try:
            with watched(self):
                self.strategy.prepare(self)
                return super().train()
        finally:
            for hook in self.hooks:
                if isinstance(hook, (CheckpointHook, SignalHook)):
                    hook.release()

    def val(self) -> dict[str, float]:
        """Validate; returns the metrics."""
        with watched(self):
            return super().val()

    def test(self) -> dict[str, float]:
        """Test; returns the metrics."""
        with watched(self):
            return super().test()

    def export(self) -> Any:
        """Build the loop ``export_cfg`` and run it; returns what it returns.

        Raises:
            ValueError: the config has no ``export_cfg``.
        """
        adopt_config_key(self.cfg.get('encryption_key'), writes=True)
        cfg = self.cfg.get('export_cfg')
        if not cfg:
            raise ValueError("the config has no 'export_cfg': add export_cfg=dict(type='ExportLoop')")
        loop = LOOPS.build(copy.deepcopy(dict(cfg)), default_args=dict(runner=self))
        self.call_hook('before_run')
        self.load_or_resume()
        merge_lora(self.model)
        result = loop.run()
        self.call_hook('after_run')
        return result

    def scale_lr(self, optim_wrapper: Any, auto_scale_lr: dict | None = None) -> None:
        """Scale the learning rates to the real batch and log the arithmetic; before schedulers are built."""
        if not auto_scale_lr or not auto_scale_lr.get('enable', False):
            return
        self.logger.info(scale_to_batch(optim_wrapper, auto_scale_lr, self.train_dataloader))

    # checkpoints -------------------------------------------------------------------------------------------------

    def _resume_source(self) -> str | None:
        """The checkpoint to continue from; found once, by rank 0 for all."""
        if not self._is_training or not self._resume:
            return None
        if not hasattr(self, '_found'):
            answer = [self._load_from]
            if self._auto_resume or self._load_from is None:
                latest = find_latest(self.work_dir) if is_main_process() else None
                answer = [latest and str(latest)]
            broadcast_object_list(answer)
            self._found = answer[0]
        return self._found

    def load_or_resume(self) -> None:
        """Continue from a checkpoint, or load weights, as ``resume`` and ``load_from`` say."""
        if self._has_loaded:
            return
        source = self._resume_source()
        if source is not None:
            self.resume(source)
        elif self._load_from is not None:
            self.load_checkpoint(self._load_from)
        elif self._is_training and self._resume:
            self.logger.warning(f'resume is on, but {self.work_dir} holds no checkpoint: training starts at the '
                                f'beginning')
        if self._is_training and not self._resume and find_latest(self.work_dir) is not None:
            self.logger.warning(f'{self.work_dir} holds checkpoints of an earlier run, which this run will overwrite; '
                                f'to continue that run, use --resume')

    def load_checkpoint(self, filename: str, map_location: Any = 'cpu', strict: bool = False,
                        revise_keys: list[tuple[str, str]] = ()) -> dict:
        """Load weights; public layouts are recognised, what does not fit is dropped and listed.

        Of a run that starts from weights (``load_from``), names that fit a pattern of the config's ``load_skip`` stay
        as they were initialised.

        Args:
            filename: path, address or ``torchvision://`` name.
            map_location: as in ``torch.load``.
            strict: every tensor of the model must be filled.
            revise_keys: (pattern, replacement) applied to the names in the file.

        Returns:
            The checkpoint, with ``state_dict`` under our names.

        Raises:
            ValueError: too little matched (``load_min_matched``).
        """
        checkpoint = load_checkpoint(filename, map_location)
        model = unwrapped(self.model)
        with named_part(filename, 'weights'):
            state, layout = translate(unwrap(checkpoint), model)
        for pattern, replacement in revise_keys:
            state = {re.sub(pattern, replacement, name): tensor for name, tensor in state.items()}
        contents = {key: value for key, value in checkpoint.items() if not isinstance(value, torch.Tensor)}
        checkpoint = dict(contents, state_dict=state)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        if self._is_training and not strict:
            checkpoint['state_dict'] = without_names(checkpoint['state_dict'], self.cfg.get('load_skip') or ())
        report = load_weights(model, checkpoint['state_dict'], label=str(filename), setting='load_min_matched',
                              min_matched=1.0 if strict else self.cfg.get('load_min_matched', 0.5))
        report.layout = report.layout or layout
        self.logger.log(20 if report.complete else 30, report.summary())
        self._has_loaded = True
        return checkpoint

    def resume(self, filename: str, resume_optimizer: bool = True, resume_param_scheduler: bool = True,
               map_location: Any = 'default') -> None:
        """Continue a run: weights, optimizer, schedulers, counters, place in the data, random states.

        Raises:
            ValueError: the checkpoint is of another model, or holds weights only.
        """
        checkpoint = self.load_checkpoint(filename, 'cpu' if map_location == 'default' else map_location, strict=True)
        self._random_states = resume_run(self, checkpoint, filename, optimizer=resume_optimizer,
                                         schedulers=resume_param_scheduler)
        self.logger.info(f'continuing {filename} at epoch {self.epoch}, iteration {self.iter}')

    def restore_randomness(self) -> None:
        """Put the random states of a resumed checkpoint in place; the loops call it before the first step."""
        states, self._random_states = self._random_states, None
        if states is not None and not restore_own_random_state(states, unwrapped(self.model)):
            self.logger.warning('the checkpoint has no random state for this process')

    def save_checkpoint(self, out_dir: str, filename: str, file_client_args: dict | None = None,
                        save_optimizer: bool = True, save_param_scheduler: bool = True, meta: dict | None = None,
                        by_epoch: bool = True, backend_args: dict | None = None,
                        write: Callable[[dict, Path], Any] = save_checkpoint) -> None:
        """Write a checkpoint atomically, plain and complete. All ranks must call this.

        Args:
            out_dir, filename: where.
            file_client_args, backend_args: storage back end of MMEngine for an ``out_dir`` that is no local folder;
                writing is as atomic as that back end makes it.
            save_optimizer, save_param_scheduler: leave them out for a file that is not to be resumed.
            meta: entries that override the counters and add to the meta data.
            by_epoch: called at the end of an epoch, before the epoch counter moves; otherwise at the end of an
                iteration, before the iteration counter moves.
            write: gets the whole checkpoint and its path on the main process.
        """
        counters = dict(epoch=self.epoch + 1, iter=self.iter) if by_epoch else dict(epoch=self.epoch,
                                                                                    iter=self.iter + 1)
        if hasattr(self.optim_wrapper, 'synchronize_partial_gradients'):
            self.optim_wrapper.synchronize_partial_gradients()
        # a run that saves before it has taken its restored states must not lose them
        random_state = self._random_states or gather_random_states(unwrapped(self.model))
        if not is_main_process() and not self.strategy.gathers:
            return
        checkpoint = collect_checkpoint(self, dict(counters, **(meta or {})), optimizer=save_optimizer,
                                        schedulers=save_param_scheduler)
        checkpoint['random_state'] = random_state
        self.call_hook('before_save_checkpoint', checkpoint=checkpoint)
        if self.strategy.save_in_parts(checkpoint, f'{out_dir}/{filename}'):
            return
        checkpoint = self.strategy.gather(checkpoint)
        if not is_main_process():
            return
        checkpoint = plain(checkpoint)
        if backend_args or file_client_args or '://' in str(out_dir):
            put_elsewhere(checkpoint, out_dir, filename, backend_args or file_client_args)
        else:
            write(checkpoint, Path(out_dir) / filename)

    def leave_if_interrupted(self, *, iteration_ended: bool = False) -> None:
        """If any process was asked to stop: save ``iter_N.pth``, close the logs, exit with 128 + the signal's number.

        All ranks must call this. ``iteration_ended``: the present iteration is over, its counter not yet moved. With
        several processes, the iterations of an open accumulation window come first.
        """
        signum = self.interruption.agree()
        if signum and not (iteration_ended and window_is_shared(self)):
            save_and_leave(self, signum, done=self.iter + int(iteration_ended))


def _with_type(loop: Any, name: str) -> Any:
    return dict(dict(type=name), **loop) if isinstance(loop, dict) else loop
