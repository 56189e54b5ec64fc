"""Where two checkpoints differ, to the bit."""
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from maskforge.checkpoints import load_checkpoint

#: what depends on the clock, the folder and the machine, not on the training
_TIMES = ('time', 'data_time', 'memory', 'eta')
_IGNORED_META = {'time', 'experiment_name', 'cfg'}
_IGNORED_INFO = {'last_ckpt', 'keep_ckpt_ids', 'cfg', 'experiment_name', 'eta', 'mmengine_version'}


def checkpoint_differences(first: str | Path, second: str | Path) -> list[str]:
    """Dotted names of what differs between two checkpoints of a run, such as ``optimizer.state.3.exp_avg``.

    Weights, averaged weights, optimizer, schedules, counters, random states and the history of messages are compared
    bit by bit. Times, memory, folders and names of runs are not.
    """
    parts = [_comparable(load_checkpoint(path)) for path in (first, second)]
    return list(_differences(*parts, name=''))


def _comparable(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    meta = {key: value for key, value in checkpoint.get('meta', {}).items() if key not in _IGNORED_META}
    hub = checkpoint.get('message_hub', {})
    scalars = {key: value for key, value in hub.get('log_scalars', {}).items() if key.split('/')[-1] not in _TIMES}
    # the paths of the best checkpoints lie in the folder of the run
    info = {key: Path(value).name if 'ckpt' in key and isinstance(value, str) else value
            for key, value in hub.get('runtime_info', {}).items() if key not in _IGNORED_INFO}
    return dict(checkpoint, meta=meta, message_hub=dict(log_scalars=scalars, runtime_info=info))


def _differences(first: Any, second: Any, *, name: str) -> Iterator[str]:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in dict.fromkeys([*first, *second]):
            inner = f'{name}.{key}' if name else str(key)
            if key in first and key in second:
                yield from _differences(first[key], second[key], name=inner)
            else:
                yield inner
    elif isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)) and len(first) == len(second):
        for place, pair in enumerate(zip(first, second)):
            yield from _differences(*pair, name=f'{name}.{place}')
    elif not _equal(first, second):
        yield name


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return first.dtype == second.dtype and first.shape == second.shape \
            and torch.equal(first.contiguous().reshape(-1).view(torch.uint8) if first.numel() else first,
                            second.contiguous().reshape(-1).view(torch.uint8) if second.numel() else second)
    return type(first) is type(second) and (first == second or (first != first and second != second))
