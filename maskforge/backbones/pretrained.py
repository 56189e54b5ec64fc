"""The weight initialiser ``Pretrained``: MMEngine's name and arguments, with checks where it is silent."""
import re
from collections.abc import Mapping

import torch
from mmengine.logging import print_log
from mmengine.model.weight_init import update_init_info
from torch import Tensor, nn

from maskforge.backbones.weight_cache import fetch
from maskforge.backbones.weight_source import WeightSource, find_source
from maskforge.registry import WEIGHT_INITIALIZERS

WRAPPERS = ('state_dict', 'model_state_dict', 'model', 'model_ema')


@WEIGHT_INITIALIZERS.register_module()
class Pretrained:
    """Load a module's weights from a public name, a URL or a file.

    Args:
        checkpoint: see :func:`~maskforge.backbones.weight_source.find_source`.
        prefix: only the keys below this one, without it (``'backbone.'`` takes a detector's backbone).
        map_location: where the file's tensors are put first.
        sha256: digest to check the file against; by default the digits in its name.
        min_matched: share of the module's tensors that must be found, in [0, 1].

    Raises:
        ValueError: fewer tensors match than ``min_matched``; the message lists what is missing.
    """

    def __init__(self, checkpoint: str, *, prefix: str | None = None, map_location: str = 'cpu',
                 sha256: str | None = None, min_matched: float = 0.5) -> None:
        self.checkpoint, self.prefix, self.map_location = checkpoint, prefix, map_location
        self.sha256, self.min_matched = sha256, min_matched

    def __call__(self, module: nn.Module) -> None:
        """Fill ``module`` in place and log what was missing, left over or of another shape."""
        source = find_source(self.checkpoint, sha256=self.sha256)
        state = read_state(source, map_location=self.map_location)
        if self.prefix:
            state = _below(state, self.prefix, self.checkpoint)
        load_matching(module, state, name=self.checkpoint, min_matched=self.min_matched)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=f'Pretrained: load from {self.checkpoint}')


def read_state(source: WeightSource, *, map_location: str = 'cpu') -> dict[str, Tensor]:
    """Fetch and read a source's state dict; wrappers such as ``state_dict`` and ``module.`` prefixes are removed."""
    path = fetch(source)
    if source.timm_model:
        return _read_with_timm(source.timm_model, str(path))
    if path.suffix == '.safetensors':
        from safetensors.torch import load_file
        return load_file(path, device=map_location)
    state = torch.load(path, map_location=map_location, weights_only=True)
    for wrapper in WRAPPERS:
        if isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
            break
    return {re.sub(r'^module\.', '', key): value for key, value in state.items() if isinstance(value, Tensor)}


def _read_with_timm(model: str, path: str) -> dict[str, Tensor]:
    # timm renames the keys of many published files; its own model is the only place that knows how
    import timm

    return timm.create_model(model, pretrained=True, pretrained_cfg_overlay=dict(file=path)).state_dict()


def _below(state: dict[str, Tensor], prefix: str, name: str) -> dict[str, Tensor]:
    prefix = prefix if prefix.endswith('.') else f'{prefix}.'
    found = {key[len(prefix):]: value for key, value in state.items() if key.startswith(prefix)}
    if not found:
        tops = sorted({key.split('.')[0] for key in state})
        raise ValueError(f"{name} has no keys below prefix='{prefix}'; its top-level parts are {', '.join(tops[:12])}.")
    return found


def load_matching(module: nn.Module, state: Mapping[str, Tensor], *, name: str, min_matched: float = 0.5) -> list[str]:
    """Copy the tensors whose key and shape agree into ``module``; return the keys of the module that were not found.

    Keys of a plain timm model are recognised in a :class:`TimmBackbone` (its feature extractor renames the first
    levels of the tree).

    Raises:
        ValueError: fewer than ``min_matched`` of the module's tensors were found.
    """
    targets = {key: value for key, value in module.state_dict().items() if not key.endswith('num_batches_tracked')}
    renamed = _rename_to(targets, state)
    wrong = {key for key, value in renamed.items() if value.shape != targets[key].shape}
    matched = {key: value for key, value in renamed.items() if key not in wrong}
    missing = sorted(set(targets) - set(matched))
    if len(matched) < min_matched * len(targets):
        raise ValueError(
            f'{name} fits {type(module).__name__} too little: {len(matched)} of {len(targets)} tensors agree. Missing: '
            f'{_group(missing)}. The file has: {_group(state)}. Check depth, style and prefix, or set min_matched.')
    module.load_state_dict(matched, strict=False)
    shapes = [f'{key} {tuple(renamed[key].shape)} instead of {tuple(targets[key].shape)}' for key in sorted(wrong)]
    notes = [f'{len(matched)} of {len(targets)} tensors loaded from {name}']
    notes += [f'not in the file: {_group(missing)}'] if missing else []
    notes += [f'other shape, left as initialised: {"; ".join(shapes[:8])}'] if shapes else []
    print_log('. '.join(notes), logger='current', level=30 if missing or shapes else 20)
    return missing


def _rename_to(targets: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State entries under the module's own key names."""
    renamed = {}
    for key, value in state.items():
        parts = key.split('.')
        joined = ['_'.join(parts[:n]) + '.' + '.'.join(parts[n:]) for n in (2, 3) if len(parts) > n]
        for candidate in (key, f'timm_model.{key}', *(f'timm_model.{j}' for j in joined), f'timm_model.model.{key}'):
            if candidate in targets:
                renamed[candidate] = value
                break
    return renamed


def _group(keys) -> str:
    """Keys counted by their first two parts, in at most ten groups."""
    counts: dict[str, int] = {}
    for key in keys:
        group = '.'.join(key.split('.')[:2]) if key.count('.') > 1 else key.split('.')[0]
        counts[group] = counts.get(group, 0) + 1
    shown = [f'{group} ({count})' if count > 1 else group for group, count in sorted(counts.items())]
    return ', '.join(shown[:10]) + (f' and {len(shown) - 10} more groups' if len(shown) > 10 else '') or 'nothing'
