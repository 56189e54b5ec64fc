"""What a validation changed after its checkpoint had been written.

The checkpoint of an epoch is written before the validation of that epoch, so that a crash in the validation costs
nothing. Best scores, early stopping and plateau schedules change in the validation; a small file beside the
checkpoints holds them, so that a resumed run knows them without the checkpoint being written twice.
"""
import json
from pathlib import Path
from typing import Any

from mmengine import dist

from maskforge.checkpoints import write_atomically

FILE_NAME = 'validation_state.json'
_PREFIXES = ('best_', 'early_stopping', 'training_sums')
_KEPT = 50


class ValidationRecord:
    """States after validations, by the iteration (as text) at which they ran.

    Rank 0 reads and writes the file; all ranks hold the same states.

    Args:
        folder: where the checkpoints are.
    """

    def __init__(self, folder: str | Path):
        self.path = Path(folder) / FILE_NAME
        self._states: dict[str, dict[str, Any]] = {}

    def load(self, *, until: int, source: str | Path | None = None) -> None:
        """Read what earlier runs stored up to an iteration: in this folder and beside the checkpoint ``source``.

        All ranks must call this. A new run (``until=0``) removes the file.
        """
        found: list[dict] = [{}]
        if dist.is_main_process():
            if until == 0:
                self.path.unlink(missing_ok=True)
            found = [_read(self.path)]
            if source is not None:
                found[0].update(_read(Path(source).parent / FILE_NAME))
        dist.broadcast_object_list(found)
        self._states = {key: state for key, state in found[0].items() if 0 < int(key) <= until}

    def read(self) -> dict[str, dict[str, Any]]:
        """All states, oldest first."""
        return self._states

    def write(self, runner) -> None:
        """Add the runner's present state."""
        self._states[str(runner.iter)] = dict(
            runtime_info={key: value for key, value in runner.message_hub.runtime_info.items()
                          if key.startswith(_PREFIXES) and isinstance(value, (int, float, str, list, dict))},
            param_schedulers=[schedule.state_dict() for schedule in _plateau_schedules(runner)],
            scalars=_newest_scalars(runner.message_hub))
        self._states = dict(list(self._states.items())[-_KEPT:])
        if dist.is_main_process():
            write_atomically(self.path, lambda stream: stream.write(json.dumps(self._states, indent=1).encode()))

    def restore(self, runner) -> None:
        """Give the runner the state after the validation at its present iteration, if there was one."""
        state = self._states.get(str(runner.iter))
        if state is None:
            return
        runner.message_hub.update_info_dict(state['runtime_info'])
        for key, (value, count, length) in state.get('scalars', {}).items():
            known = runner.message_hub.log_scalars.get(key)
            if known is None or len(known.data[0]) < length:  # the checkpoint is from before the validation
                runner.message_hub.update_scalar(key, value, count)
        for schedule, stored in zip(_plateau_schedules(runner), state['param_schedulers']):
            step = getattr(schedule, 'global_step', None)  # the checkpoint may be from before the end of the epoch
            schedule.load_state_dict(stored)
            if step is not None:
                schedule.seek(step)


def _newest_scalars(hub: Any) -> dict[str, tuple[float, int, int]]:
    """Of every metric of the validation: its newest value, its count, and how many there are."""
    found = {}
    for key, history in hub.log_scalars.items():
        values, counts = history.data
        if key.startswith('val/') and len(values):
            found[key] = float(values[-1]), int(counts[-1]), len(values)
    return found


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except (OSError, json.JSONDecodeError):
        return {}


def _plateau_schedules(runner) -> list:
    schedules = runner.param_schedulers or []
    if isinstance(schedules, dict):
        schedules = [one for several in schedules.values() for one in several]
    return [schedule for schedule in schedules if getattr(schedule, 'need_val_args', False)]
