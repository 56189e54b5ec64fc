"""Putting the weights of a file into a model, whatever public layout the file has."""
import difflib
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from maskforge.registry import CHECKPOINT_LAYOUTS

from .checkpoint_file import load_checkpoint
from .lora_weights import has_lora, merge_lora_weights

# where libraries keep the weights inside a file, in the order in which they are tried
_CONTAINERS = ('state_dict', 'model_state_dict', 'model_state', 'model', 'net', 'module', 'state_dict_ema',
               'model_ema', 'ema')
_PREFIXES = ('module.', '_orig_mod.')


@dataclass
class LoadReport:
    """What a load did.

    Attributes:
        source: file, or what was given instead.
        layout: class name of the recognised layout; None where the names were ours already.
        matched: names of the model's tensors that were filled.
        missing: names of the model's tensors that the file lacks.
        unexpected: names in the file that the model lacks.
        mismatched: (name, shape in the file, shape in the model) of what was dropped.
    """

    source: str
    layout: str | None = None
    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Part of the model's tensors that were filled, 0 to 1."""
        total = len(self.matched) + len(self.missing) + len(self.mismatched)
        return len(self.matched) / total if total else 1.0

    @property
    def complete(self) -> bool:
        """Whether everything fitted, on both sides."""
        return not (self.missing or self.unexpected or self.mismatched)

    def summary(self) -> str:
        """Several lines: the counts, then what did not fit, grouped by module."""
        layout = f' (layout {self.layout})' if self.layout else ''
        total = len(self.matched) + len(self.missing) + len(self.mismatched)
        lines = [f'{self.source}{layout}: {len(self.matched)} of {total} tensors loaded']
        lines += [f'  dropped, other shape: {name}: {given} in the file, {own} in the model'
                  for name, given, own in self.mismatched]
        lines += [f'  not in the file: {line}' for line in _grouped(self.missing)]
        lines += [f'  not in the model: {line}' for line in _grouped(self.unexpected)]
        return '\n'.join(lines)


def unwrap(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name: containers opened, ``module.`` and ``_orig_mod.`` stripped.

    Raises:
        ValueError: there are no tensors in it.
    """
    inner: Any = checkpoint
    for _ in range(3):  # e.g. {'model': {'state_dict': ...}}
        key = next((k for k in _CONTAINERS if isinstance(inner, Mapping) and isinstance(inner.get(k), Mapping)), None)
        if key is None:
            break
        inner = inner[key]
    tensors = {str(k): v for k, v in inner.items() if isinstance(v, Tensor)} if isinstance(inner, Mapping) else {}
    if not tensors:
        top = ', '.join(map(str, list(checkpoint)[:8])) if isinstance(checkpoint, Mapping) else type(checkpoint)
        raise ValueError(f'there are no weights in it: the top level holds {top}, none of it a dict of tensors')
    return _without_prefixes(tensors)


def without_names(state_dict: Mapping[str, Tensor], patterns: Sequence[str]) -> dict[str, Tensor]:
    """Return the tensors whose names fit none of the patterns (``*``, ``?``), each from a name's start or a dot on.

    Raises:
        ValueError: a pattern fits no name.
    """
    state = dict(state_dict)
    for pattern in patterns:
        names = [name for name in state_dict if fnmatchcase(name, pattern) or fnmatchcase(name, f'*.{pattern}')]
        if not names:
            near = difflib.get_close_matches(pattern.strip('*.'), state_dict, n=3, cutoff=0.4) or list(state_dict)[:3]
            raise ValueError(f"load_skip: no name in the file fits '{pattern}'; near names: {', '.join(near)}.")
        state = {name: tensor for name, tensor in state.items() if name not in names}
    return state


def translate(state_dict: dict[str, Tensor], model: nn.Module) -> tuple[dict[str, Tensor], str | None]:
    """Return the tensors under the model's own names, and the class name of the layout that was recognised."""
    best, name = state_dict, None
    most = _fitting(state_dict, model)
    CHECKPOINT_LAYOUTS.import_from_location()
    for cls in CHECKPOINT_LAYOUTS.module_dict.values():
        layout = cls()
        if not (layout.fits(model) and layout.matches(state_dict)):
            continue
        mapped = layout.to_ours(dict(state_dict), model)
        count = _fitting(mapped, model)
        if count >= most:  # a layout that recognises the file goes before the names at face value
            same = all(mapped.get(key) is tensor for key, tensor in state_dict.items())
            best, name, most = mapped, None if same else cls.__name__, count
    return best, name


def load_weights(model: nn.Module, source: str | os.PathLike | Mapping[str, Any], *, min_matched: float = 0.5,
                 setting: str = 'min_matched', label: str | None = None) -> LoadReport:
    """Load weights into ``model`` in place; what does not fit is dropped and listed.

    Args:
        model: its own names and shapes decide.
        source: path, address, or an already loaded checkpoint or state dict.
        min_matched: least share of the model's tensors that must be filled, 0 to 1.
        setting: what the error calls ``min_matched`` (the config key of the caller).
        label: what messages call the source; its path by default.

    Raises:
        ValueError: less than ``min_matched`` was filled; the message shows names of both sides.
    """
    given = isinstance(source, Mapping)
    checkpoint = source if given else load_checkpoint(source)
    label = label or ('the given weights' if given else str(source))
    try:
        tensors = unwrap(checkpoint)
        if has_lora(tensors) and not has_lora(model.state_dict()):
            tensors = merge_lora_weights(tensors)
        state, layout = translate(tensors, model)
    except ValueError as error:
        raise ValueError(f'{label}: {error}') from error
    report = _compare(state, model, label, layout)
    if report.share < min_matched:
        raise ValueError(_too_little(report, state, model, min_matched, setting))
    dropped = {name for name, *_ in report.mismatched}
    result = model.load_state_dict({k: v for k, v in state.items() if k not in dropped}, strict=False)
    report.unexpected = list(result.unexpected_keys)
    return report


def _compare(state: dict[str, Tensor], model: nn.Module, label: str, layout: str | None) -> LoadReport:
    report = LoadReport(label, layout)
    own = model.state_dict()
    for name, tensor in own.items():
        if not isinstance(tensor, Tensor):
            continue
        if name not in state:
            # counters of BatchNorm are absent from old files and mean nothing for the result
            if not name.endswith('num_batches_tracked'):
                report.missing.append(name)
        elif state[name].shape != tensor.shape:
            report.mismatched.append((name, tuple(state[name].shape), tuple(tensor.shape)))
        else:
            report.matched.append(name)
    report.unexpected = [name for name in state if name not in own]
    return report


def _too_little(report: LoadReport, state: dict[str, Tensor], model: nn.Module, least: float, setting: str) -> str:
    def few(names) -> str:
        return ', '.join(list(names)[:4]) + ', ...'
    total = len(report.matched) + len(report.missing) + len(report.mismatched)
    shapes = ''.join(f'; {n} is {given} in the file and {own} in the model' for n, given, own in report.mismatched[:4])
    return (f'{report.source}: only {len(report.matched)} of the {total} tensors of {type(model).__name__} are in it '
            f'({report.share:.0%}; at least {least:.0%} must be). The file has {few(state)}; the model wants '
            f'{few(model.state_dict())}{shapes}. Is it the checkpoint of another model? If this is meant, lower '
            f'{setting}.')


def _fitting(state: Mapping[str, Tensor], model: nn.Module) -> int:
    own = model.state_dict()
    return sum(1 for name, tensor in state.items() if name in own and own[name].shape == tensor.shape)


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES * 2:  # compiled inside wrapped, or the other way round
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return {name.replace('_orig_mod.', ''): tensor for name, tensor in tensors.items()}


def _grouped(names: list[str], depth: int = 2) -> list[str]:
    """Names by their first ``depth`` parts, with counts; single names whole."""
    groups = defaultdict(list)
    for name in names:
        groups['.'.join(name.split('.')[:depth])].append(name)
    return [members[0] if len(members) == 1 else f'{group}.* ({len(members)} tensors)'
            for group, members in groups.items()]
