"""Lets a teacher network follow its student."""
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from maskforge.registry import HOOKS


@HOOKS.register_module()
class MomentumTeacherHook(Hook):
    """Calls ``model.update_teacher()`` after every update of the weights.

    With accumulated gradients that is once per window, not once per iteration. Runs before checkpoints are written, so
    that they hold the teacher that belongs to the student.

    Raises:
        ValueError: the model has no ``update_teacher``.
    """

    priority = 'NORMAL'

    def before_train(self, runner) -> None:
        """Check the model before the first iteration."""
        if not hasattr(_bare(runner.model), 'update_teacher'):
            raise ValueError(f'MomentumTeacherHook: {type(_bare(runner.model)).__name__} has no update_teacher(); the '
                             f'hook belongs to models with a teacher, such as MAL.')

    def after_train_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        """Update, unless a window of accumulated gradients is open."""
        if not getattr(runner.optim_wrapper, 'has_open_window', False):
            _bare(runner.model).update_teacher()


def _bare(model):
    return model.module if is_model_wrapper(model) else model
