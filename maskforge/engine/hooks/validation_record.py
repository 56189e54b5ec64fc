"""What a validation changed after its checkpoint had been written.

The checkpoint of an epoch is written before the validation of that epoch, so that a crash in the validation costs
nothing. Best scores, early stopping and plateau schedules change in the validation; a small file beside the
checkpoints holds them, so that a resumed run knows them without the checkpoint being written twice.
"""
import json
from pathlib import Path
from typing import Any

from maskforge.checkpoints import write_atomically

FILE_NAME = 'validation_state.json'
_PREFIXES = ('best_', 'early_stopping')
_KEPT = 50


class ValidationRecord:
    """States after validations, by the iteration at which they ran.

    Args:
        folder: where the checkpoints are.
    """

    def __init__(self, folder: str | Path):
        self.path = Path(folder) / FILE_NAME

    def read(self) -> dict[str, dict[str, Any]]:
        """All states, oldest first; empty where the file is missing or torn."""
        try:
            return json.loads(self.path.read_text(encoding='utf-8'))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def write(self, runner) -> None:
        """Add the runner's present state; later ones (of a run that was rolled back) are dropped."""
        states = {key: state for key, state in self.read().items() if int(key) < runner.iter}
        states[str(runner.iter)] = dict(
            runtime_info={key: value for key, value in runner.message_hub.runtime_info.items()
                          if key.startswith(_PREFIXES) and isinstance(value, (int, float, str, list, dict))},
            param_schedulers=[schedule.state_dict() for schedule in _plateau_schedules(runner)])
        kept = dict(list(states.items())[-_KEPT:])
        write_atomically(self.path, lambda stream: stream.write(json.dumps(kept, indent=1).encode()))

    def restore(self, runner) -> bool:
        """Give the runner the state after the validation at its present iteration; False if there was none."""
        state = self.read().get(str(runner.iter))
        if state is None:
            return False
        runner.message_hub.update_info_dict(state['runtime_info'])
        for schedule, stored in zip(_plateau_schedules(runner), state['param_schedulers']):
            schedule.load_state_dict(stored)
        return True

    def clear(self) -> None:
        """Forget everything: a new run begins."""
        self.path.unlink(missing_ok=True)


def _plateau_schedules(runner) -> list:
    schedules = runner.param_schedulers or []
    if isinstance(schedules, dict):
        schedules = [one for several in schedules.values() for one in several]
    return [schedule for schedule in schedules if getattr(schedule, 'need_val_args', False)]
