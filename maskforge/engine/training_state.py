"""Everything besides the weights that a checkpoint needs for an exact continuation, in plain form."""
import enum
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank
from mmengine.logging import HistoryBuffer, MessageHub, print_log
from torch import Tensor, nn

from .model_preparation import unwrapped
from .random_state import capture_random_state, restore_random_state
from .run_environment import package_versions
from .scalar_history import ScalarHistory

HISTORY_LENGTH = 10_000


def plain(value: Any, path: str = 'checkpoint') -> Any:
    """Return ``value`` made of dicts, lists, tuples, numbers, texts and CPU tensors, readable with ``weights_only``.

    NumPy values become tensors and numbers. Anything else becomes its ``repr``, with a warning that names the place.
    """
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in 'biuf':
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, (np.generic, np.ndarray)):
        return plain(value.tolist(), path)
    if isinstance(value, Mapping):
        return {plain(key, path): plain(item, f'{path}.{key}') for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [plain(item, f'{path}[{i}]') for i, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, enum.Enum):
        return plain(value.value, path)
    if isinstance(value, (torch.dtype, torch.device, Path)):
        return str(value)
    for kind in (bool, int, float, str):  # their subclasses
        if isinstance(value, kind):
            return kind(value)
    print_log(f'{path} is a {type(value).__name__}, which checkpoints do not hold; its text is stored', 'current', 30)
    return repr(value)


def message_hub_state(hub: MessageHub) -> dict[str, Any]:
    """The hub's content without classes; histories are cut to their last ``HISTORY_LENGTH`` values."""
    resumed = {key for key, keep in hub._resumed_keys.items() if keep}
    scalars = {}
    for key, buffer in hub.log_scalars.items():
        if key in resumed:
            values, counts = buffer.data
            scalars[key] = dict(values=torch.as_tensor(np.asarray(values[-HISTORY_LENGTH:], dtype=np.float64)),
                                counts=torch.as_tensor(np.asarray(counts[-HISTORY_LENGTH:], dtype=np.int64)))
    info = {key: plain(value, f'message_hub.{key}') for key, value in hub.runtime_info.items() if key in resumed}
    return dict(log_scalars=scalars, runtime_info=info, resumed_keys=dict(hub._resumed_keys))


def restore_message_hub(hub: MessageHub, state: Mapping[str, Any]) -> None:
    """Put back what :func:`message_hub_state` took, or what MMEngine stored (also after a restricted load)."""
    scalars = {key: _buffer(entry) for key, entry in state.get('log_scalars', {}).items()}
    scalars = {key: buffer for key, buffer in scalars.items() if buffer is not None}
    info = dict(state.get('runtime_info', {}))
    known = {key: True for key, keep in state.get('resumed_keys', {}).items() if keep and (key in scalars
                                                                                          or key in info)}
    hub.load_state_dict(dict(log_scalars=scalars, runtime_info=info, resumed_keys=known))


def _buffer(entry: Any) -> HistoryBuffer | None:
    if isinstance(entry, HistoryBuffer):
        return entry
    if isinstance(entry, Mapping) and 'values' in entry:
        values, counts = (torch.as_tensor(entry[key], dtype=torch.float64) for key in ('values', 'counts'))
        if values.ndim != 1 or values.shape != counts.shape:
            raise ValueError(f'a history has values of shape {tuple(values.shape)} and counts of shape '
                             f'{tuple(counts.shape)}')
        return ScalarHistory(values.tolist(), counts.long().tolist())
    values = getattr(entry, '_log_history', None)  # a HistoryBuffer that was read as a stand-in
    if values is None:
        return None
    return ScalarHistory(np.asarray(values).tolist(), np.asarray(entry._count_history).tolist())


def collect_checkpoint(runner, meta: dict[str, Any], *, optimizer: bool, schedulers: bool) -> dict[str, Any]:
    """Gather a runner's state on this rank; not yet plain, because hooks may still change it.

    Args:
        meta: ``epoch`` and ``iter`` to continue from, and whatever else goes into the meta data.
    """
    loop = runner.train_loop
    metainfo = getattr(runner.train_dataloader.dataset, 'metainfo', None)
    facts = dict(cfg=runner.config_text, seed=runner.seed, experiment_name=runner.experiment_name,
                 time=time.strftime('%Y%m%d_%H%M%S'), world_size=runner.world_size,
                 batch_over_all_ranks=runner.batch_over_all_ranks,
                 **{f'{name.replace("-", "_")}_version': number for name, number in package_versions().items()})
    if hasattr(loop, 'position'):
        facts['position'] = loop.position(epoch=meta['epoch'], iteration=meta['iter'])
    if metainfo is not None:
        facts['dataset_meta'] = metainfo
    checkpoint = dict(meta=dict(facts, **meta), state_dict=unwrapped(runner.model).state_dict(),
                      message_hub=message_hub_state(runner.message_hub))
    if optimizer:
        checkpoint['optimizer'] = runner.optim_wrapper.state_dict()
    if schedulers and runner.param_schedulers is not None:
        built = runner.param_schedulers
        checkpoint['param_schedulers'] = {name: [s.state_dict() for s in part] for name, part in built.items()} \
            if isinstance(built, dict) else [s.state_dict() for s in built]
    return checkpoint


def gather_random_states(model: nn.Module | None = None) -> list[dict[str, Any]]:
    """The generators' states of all ranks, in their order; all ranks must call this.

    Args:
        model: one with a generator of its own has ``random_state()``, which returns a plain value, and
            ``set_random_state(state)``.
    """
    state = capture_random_state()
    if hasattr(model, 'random_state'):
        state['model'] = model.random_state()
    return all_gather_object(state)


def restore_own_random_state(states: list[dict[str, Any]] | None, model: nn.Module | None = None) -> bool:
    """Put back this rank's state and the model's; a rank that the checkpoint has none for takes rank 0's of the model.

    Returns:
        Whether the checkpoint has a state for this rank.
    """
    is_own = bool(states) and get_rank() < len(states)
    # it begins alike on all ranks, but clips of different lengths draw different numbers of times
    state = states[get_rank() if is_own else 0] if states else {}
    if 'model' in state and hasattr(model, 'set_random_state'):
        model.set_random_state(state['model'])
    if is_own:
        restore_random_state(state)
    return is_own
