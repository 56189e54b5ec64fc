"""Swin's tensors in the public layouts: the authors' (TAO's too), MMDetection's and Hugging Face's.

Every layout speaks through the official names: theirs -> official -> ours and back. Layouts of whole models call
:func:`to_ours` and :func:`from_ours` with the part of the backbone, its prefix stripped.
"""
import re
from collections.abc import Callable, Iterable, Mapping

from jaxtyping import Float
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.backbones.swin_names import DROPPED, HF_RULES, HUB_RULES, MMDET_RULES
from maskforge.checkpoints.layout import CheckpointLayout
from maskforge.checkpoints.name_rules import inverse_rules, rename
from maskforge.checkpoints.tensor_rules import join_qkv, split_qkv
from maskforge.registry import CHECKPOINT_LAYOUTS

#: 'ours' is timm's; 'huggingface' what transformers 5 has in memory, 'huggingface_hub' its files
LAYOUTS = ('ours', 'official', 'mmdetection', 'huggingface', 'huggingface_hub')
TABLE, POSITION = 'relative_position_bias_table', 'absolute_pos_embed'
PART = r'(layers\.\d+\.blocks\.\d+\.attn)\.([qkv])\.(weight|bias)'
WHOLE = r'(layers\.\d+\.blocks\.\d+\.attn)\.qkv\.(weight|bias)'
# offsets (row, column) of the four merged tokens come column by column in the original, row by row in MMDetection
MERGING_ORDER = [0, 2, 1, 3]

State = Mapping[str, Tensor]


def recognise(names: Iterable[str]) -> str | None:
    """Return which of ``LAYOUTS`` the names of a Swin's tensors have, None where they have none of them."""
    names = {name.removeprefix('swin.') for name in names}
    if 'embeddings.patch_embeddings.projection.weight' in names:
        return 'huggingface_hub' if any('.attention.self.' in name for name in names) else 'huggingface'
    if 'patch_embed.projection.weight' in names and f'stages.0.blocks.0.attn.w_msa.{TABLE}' in names:
        return 'mmdetection'
    if 'patch_embed.proj.weight' not in names or f'layers.0.blocks.0.attn.{TABLE}' not in names:
        return None
    # the originals merge tokens at the end of a stage, timm at the start of the next
    return 'official' if any(name.startswith('layers.0.downsample.') for name in names) else 'ours'


def to_ours(state_dict: State, layout: str) -> dict[str, Tensor]:
    """Return a Swin's tensors under our names, without the buffers, classifiers and last norm that files have.

    Args:
        state_dict: names from the backbone on.
        layout: one of ``LAYOUTS``; see :func:`recognise`.

    Raises:
        ValueError: another layout.
    """
    read = {'official': dict, 'mmdetection': _from_mmdet, 'huggingface': _from_hf, 'huggingface_hub': _from_hf}
    _check(layout)
    if layout == 'ours':
        return _kept(state_dict)
    return {_moved(name, 1): _as_map(value) if name == POSITION else value
            for name, value in _kept(read[layout](_kept(state_dict))).items()}


def from_ours(state_dict: State, layout: str) -> dict[str, Tensor]:
    """Return our tensors under a layout's names: the inverse of :func:`to_ours`.

    The official layout and MMDetection's get the index buffers that their loaders ask for; 'huggingface' has
    'swin.' in front, 'huggingface_hub' has not (as the files of Mask2Former).

    Raises:
        ValueError: another layout.
    """
    write: dict[str, Callable] = {'official': _with_indices, 'mmdetection': _to_mmdet, 'huggingface': _to_hf,
                                  'huggingface_hub': _to_hub}
    _check(layout)
    if layout == 'ours':
        return dict(state_dict)
    return write[layout]({_moved(name, -1): value for name, value in state_dict.items()})


def fit_sizes(state_dict: State, model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors (our names) with position tables resized to the window and image size of ``model``.

    Resizing is bicubic, as the authors do it; a note says from and to what.
    """
    own, resized, fitted = model.state_dict(), [], dict(state_dict)
    for name, value in state_dict.items():
        wanted = own[name].shape if name in own else value.shape
        if wanted == value.shape:
            continue
        if name.endswith(TABLE) and _is_table(value) and value.shape[1] == wanted[1]:
            fitted[name] = _resized_table(value, wanted[0])
            resized.append((_window(value), _window(fitted[name])))
        elif name == POSITION and value.ndim == 4 and value.shape[1] == wanted[1]:
            fitted[name] = F.interpolate(value.float(), tuple(wanted[2:]), mode='bicubic').to(value.dtype)
    for given, window in sorted(set(resized)):
        print_log(f'Swin: the position tables of windows of {given} x {given} tokens are resized to {window} x '
                  f'{window}, as model.backbone.window_size has it.', 'current')
    return fitted


def _from_mmdet(state: State) -> dict[str, Tensor]:
    named = {rename(name, MMDET_RULES): value for name, value in state.items()}
    return {name: _by_rows_to_columns(value) if '.downsample.' in name else value for name, value in named.items()}


def _to_mmdet(state: State) -> dict[str, Tensor]:
    back = inverse_rules(MMDET_RULES)
    return {rename(name, back): _by_columns_to_rows(value) if '.downsample.' in name else value
            for name, value in _with_indices(state).items()}


def _by_rows_to_columns(value: Float[Tensor, '*any 4C']) -> Float[Tensor, '*any 4C']:
    """MMDetection's order of the merged channels (channel by channel, each four tokens) to the original's."""
    return value.unflatten(-1, (-1, 4)).transpose(-1, -2)[..., MERGING_ORDER, :].flatten(-2)


def _by_columns_to_rows(value: Float[Tensor, '*any 4C']) -> Float[Tensor, '*any 4C']:
    return value.unflatten(-1, (4, -1))[..., MERGING_ORDER, :].transpose(-1, -2).flatten(-2)


def _from_hf(state: State) -> dict[str, Tensor]:
    named = {}
    for name, value in state.items():
        name = rename(rename(name.removeprefix('swin.'), HUB_RULES), HF_RULES)
        named[re.sub(r'^hidden_states_norms\.stage(\d+)', lambda match: f'norm{int(match[1]) - 1}', name)] = value
    return join_qkv(named, PART, '{0}.qkv.{1}')


def _to_hf(state: State) -> dict[str, Tensor]:
    back = inverse_rules(HF_RULES)
    named = {}
    for name, value in split_qkv(state, WHOLE, '{0}.{1}.{2}').items():
        norm = re.fullmatch(r'norm(\d+)\.(.+)', name)
        named[f'hidden_states_norms.stage{int(norm[1]) + 1}.{norm[2]}' if norm else f'swin.{rename(name, back)}'] = (
            value.flatten(2).transpose(1, 2) if name == POSITION else value)
    return named


def _to_hub(state: State) -> dict[str, Tensor]:
    back = inverse_rules(HUB_RULES)
    return {rename(name.removeprefix('swin.'), back): value for name, value in _to_hf(state).items()}


def _kept(state: State) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not re.fullmatch(DROPPED, name)}


def _moved(name: str, by: int) -> str:
    """The name with its merging of tokens in another stage."""
    return re.sub(r'^layers\.(\d+)\.downsample\.', lambda match: f'layers.{int(match[1]) + by}.downsample.', name)


def _with_indices(state: State) -> dict[str, Tensor]:
    from timm.models.swin_transformer import get_relative_position_index
    full = {}
    for name, value in state.items():
        full[name] = value
        if name.endswith(TABLE):
            window = _window(value)
            full[name.replace(TABLE, 'relative_position_index')] = get_relative_position_index(window, window)
    return full


def _as_map(position: Tensor) -> Float[Tensor, '1 C h w']:
    """The absolute position embedding of classifiers is a list of tokens, that of detectors a map."""
    if position.ndim == 4:
        return position
    side = round(position.shape[1]**0.5)
    return position.transpose(1, 2).unflatten(2, (side, -1))


def _window(table: Tensor) -> int:
    """Side of the window of a table of (2 side - 1)^2 rows."""
    return (round(len(table)**0.5) + 1) // 2


def _is_table(value: Tensor) -> bool:
    return value.ndim == 2 and (2 * _window(value) - 1)**2 == len(value)


def _resized_table(table: Float[Tensor, 'N heads'], rows: int) -> Float[Tensor, 'M heads']:
    old, new = 2 * _window(table) - 1, round(rows**0.5)
    planes = table.float().t().unflatten(1, (old, old))[None]
    return F.interpolate(planes, (new, new), mode='bicubic')[0].flatten(1).t().to(table.dtype)


def _check(layout: str) -> None:
    if layout not in LAYOUTS:
        raise ValueError(f"Swin: layout='{layout}' is not one of {', '.join(LAYOUTS)}.")


class _SwinLayout(CheckpointLayout):
    """A layout of the backbone alone, by its name in ``LAYOUTS``."""

    models = ('SwinTransformer',)
    layout: str

    def matches(self, state_dict: dict[str, Tensor]) -> bool:
        """Whether the names are of this layout."""
        return recognise(state_dict) == self.layout

    def to_ours(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors under our names, position tables in the sizes of ``model``."""
        return fit_sizes(to_ours(state_dict, self.layout), model)

    def from_ours(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors under the layout's names."""
        return from_ours(state_dict, self.layout)


@CHECKPOINT_LAYOUTS.register_module()
class TimmSwinLayout(_SwinLayout):
    """timm's and our own names: position tables of other windows fit."""

    layout = 'ours'


@CHECKPOINT_LAYOUTS.register_module()
class OfficialSwinLayout(_SwinLayout):
    """The files of the paper's authors, classifiers and detectors."""

    layout = 'official'


@CHECKPOINT_LAYOUTS.register_module()
class MMDetectionSwinLayout(_SwinLayout):
    """MMDetection 2 and 3, MMSegmentation."""

    layout = 'mmdetection'


@CHECKPOINT_LAYOUTS.register_module()
class HuggingFaceSwinLayout(_SwinLayout):
    """transformers 5's ``state_dict``."""

    layout = 'huggingface'


@CHECKPOINT_LAYOUTS.register_module()
class HuggingFaceHubSwinLayout(_SwinLayout):
    """transformers 4 and the files on the hub."""

    layout = 'huggingface_hub'
