"""How numbers become lines of the log."""
import numpy as np
from mmengine.runner import LogProcessor as _LogProcessor

from maskforge.registry import LOG_PROCESSORS

from .scalar_history import DEFAULT_LENGTH


@LOG_PROCESSORS.register_module()
class LogProcessor(_LogProcessor):
    """MMEngine's processor, with metrics as they are.

    MMEngine smooths everything with ``loss`` in its name over the last ``window_size`` values, so that a validation
    loss would be the mean over ten validations; here only training numbers and times are smoothed.

    Args: those of MMEngine's ``LogProcessor``: ``window_size``, ``by_epoch``, ``custom_cfg``, ``num_digits``,
        ``log_with_hierarchy``, ``mean_pattern``.
    """

    def history_length(self, runner) -> int:
        """How many values of each number the windows of this processor can ask for."""
        needed = [self.window_size, DEFAULT_LENGTH]
        for config in self.custom_cfg:
            window = config.get('window_size', 0)
            if window == 'epoch':
                needed.append(len(runner.train_dataloader))
            elif window == 'global':
                needed.append(runner.max_iters)
            else:
                needed.append(int(window))
        return max(needed)

    def _collect_scalars(self, custom_cfg: list[dict], runner, mode: str, reserve_prefix: bool = False) -> dict:
        tags = super()._collect_scalars(custom_cfg, runner, mode, reserve_prefix)
        if mode != 'train':
            for key, buffer in runner.message_hub.log_scalars.items():
                name = key if reserve_prefix else key.removeprefix(f'{mode}/')
                if key.startswith(f'{mode}/') and name in tags and not name.endswith('time'):
                    # a plain number: MMEngine's JSON writer turns NumPy's whole numbers into null
                    tags[name] = np.asarray(buffer.current()).item()
        return tags
