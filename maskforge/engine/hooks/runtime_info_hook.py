"""Facts and numbers of the run, for the logs."""
from typing import Any

from mmengine.hooks import RuntimeInfoHook as _RuntimeInfoHook
from mmengine.utils import get_git_hash
from mmengine.version import __version__ as mmengine_version

from maskforge.engine.scalar_history import bound_histories, record_scalar
from maskforge.registry import HOOKS


@HOOKS.register_module()
class RuntimeInfoHook(_RuntimeInfoHook):
    """MMEngine's hook with bounded histories, and without waiting for the device at every iteration."""

    def before_run(self, runner) -> None:
        """Note the facts; a config that cannot be formatted (it holds functions) does not end the run."""
        try:
            text = runner.cfg.pretty_text
        except Exception:
            text = str(runner.cfg)
        runner.message_hub.update_info_dict(dict(cfg=text, seed=runner.seed, experiment_name=runner.experiment_name,
                                                 mmengine_version=mmengine_version + get_git_hash()))
        self.last_loop_stage = None

    def before_train(self, runner) -> None:
        """Note the state of a resumed run."""
        super().before_train(runner)
        self._bound(runner)

    def before_train_iter(self, runner, batch_idx: int, data_batch: Any = None) -> None:
        """Note iteration and learning rates."""
        runner.message_hub.update_info('iter', runner.iter)
        for name, rates in runner.optim_wrapper.get_lr().items():
            record_scalar(runner.message_hub, f'train/{name}', rates[0])

    def after_train_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        """Note the losses."""
        for key, value in (outputs or {}).items():
            record_scalar(runner.message_hub, f'train/{key}', value)
        self._bound(runner)

    def _bound(self, runner) -> None:
        length = getattr(runner.log_processor, 'history_length', None)
        bound_histories(runner.message_hub, *([length(runner)] if length else []))
