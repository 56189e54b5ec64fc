"""What the model could do before it was trained."""
from mmengine.hooks import Hook

from maskforge.registry import HOOKS


@HOOKS.register_module()
class InitialValidationHook(Hook):
    """Validates once before the first step, so that a log begins with the figures that training started from.

    A resumed run has them already. They are never the best checkpoint's.
    """

    # before CheckpointHook begins to look at metrics
    priority = 'NORMAL'

    def before_train(self, runner) -> None:
        """Run the validation loop, where there is one and nothing has been trained yet."""
        if runner.iter == 0 and runner.val_loop is not None:
            runner.logger.info('Validation before training:')
            runner.val_loop.run()
