"""EfficientViT's tensors in the layout of its authors, which TAO has too.

Layouts of whole models call :func:`to_ours` and :func:`from_ours` with the part of the backbone.
"""
import re
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from maskforge.checkpoints.layout import CheckpointLayout
from maskforge.registry import CHECKPOINT_LAYOUTS

#: what stands before the names: classifiers of the authors, TAO's backbones and whole models
PREFIXES = ('', 'backbone.', 'model.', 'backbone.model.', 'model.backbone.', 'model.backbone.model.')
THEIRS = r'(?:(input_stem)|stages\.(\d+))\.op_list\.(\d+)\.(.+)'
OURS = r'(?:stem\.(?:(in_conv)|res(\d+))|stages\.(\d+)\.blocks\.(\d+))\.(.+)'


def recognise(names: Iterable[str]) -> str | None:
    """Return the prefix before the authors' names, '' among others; None where the names are not theirs."""
    names = set(names)
    # the B networks have a stem, the L networks begin with stage 0
    return next((prefix for prefix in PREFIXES if f'{prefix}input_stem.op_list.0.conv.weight' in names
                 or f'{prefix}stages.0.op_list.0.conv.weight' in names), None)


def to_ours(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of the authors' layout under our names (timm's); the classifier is left out.

    Raises:
        ValueError: the names are not the authors'.
    """
    prefix = recognise(state_dict)
    if prefix is None:
        raise ValueError(f'EfficientViT: {", ".join(list(state_dict)[:3])} ... are not the names of its authors, '
                         f'which begin with input_stem.op_list or stages.0.op_list.')
    large = f'{prefix}input_stem.op_list.0.conv.weight' not in state_dict
    matches = {name: re.fullmatch(THEIRS, name.removeprefix(prefix)) for name in state_dict}
    return {_our_name(match, large): state_dict[name] for name, match in matches.items() if match}


def from_ours(state_dict: Mapping[str, Tensor], *, prefix: str = '') -> dict[str, Tensor]:
    """Return our tensors under the authors' names behind ``prefix``: the inverse of :func:`to_ours`."""
    # only the B networks have separable convolutions in their stem
    large = not any(name.startswith('stem.') and '.depth_conv.' in name for name in state_dict)
    return {f'{prefix}{_their_name(name, large)}': value for name, value in state_dict.items()}


def _our_name(match: re.Match, large: bool) -> str:
    stem, stage, block, rest = match.groups()
    # 0 the stem, then the stages
    place = 0 if stem else int(stage) + (not large)
    if place:
        return f'stages.{place - 1}.blocks.{block}.{rest}'
    return f'stem.in_conv.{rest}' if block == '0' else f'stem.res{int(block) - 1}.{rest}'


def _their_name(name: str, large: bool) -> str:
    match = re.fullmatch(OURS, name)
    if match is None:
        return name
    first, residual, stage, block, rest = match.groups()
    if stage is not None:
        return f'stages.{int(stage) + large}.op_list.{block}.{rest}'
    return f'{"stages.0" if large else "input_stem"}.op_list.{0 if first else int(residual) + 1}.{rest}'


@CHECKPOINT_LAYOUTS.register_module()
class OfficialEfficientViTLayout(CheckpointLayout):
    """The files of the paper's authors and TAO's backbones."""

    models = ('EfficientViT',)

    def matches(self, state_dict: dict[str, Tensor]) -> bool:
        """Whether the names are the authors'."""
        return recognise(state_dict) is not None

    def to_ours(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors under our names."""
        return to_ours(state_dict)

    def from_ours(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors under the authors' names."""
        return from_ours(state_dict)
