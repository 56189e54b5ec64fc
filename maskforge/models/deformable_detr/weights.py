"""Public names of Deformable DETR's tensors: the official release's, TAO's, MMDetection's and Hugging Face's.

Every layout speaks through the official names: ``to_ours`` goes theirs -> official -> ours, ``from_ours`` back.
"""
import math
import re
from collections.abc import Iterable

from mmengine.logging import print_log
from torch import Tensor, nn

from maskforge.backbones.timm_weights import with_body, without_body
from maskforge.checkpoints.layout import CheckpointLayout
from maskforge.checkpoints.name_rules import COCO_IDS, inverse_rules, rename
from maskforge.checkpoints.tensor_rules import join_qkv, split_qkv, with_counters, without_foreign_counters
from maskforge.models.deformable_detr.heads import PRIOR
from maskforge.models.deformable_detr.public_names import (
    HF_RULES,
    HUB_RULES,
    MMDET2_RULES,
    MMDET_RULES,
    RULES,
    own_name,
)
from maskforge.registry import CHECKPOINT_LAYOUTS

HEADS = r'(class_embed|bbox_embed)\.(\d+)\.(.+)'
PART = r'model\.(decoder\.layers\.\d+\.self_attn)\.([qkv])_proj\.(weight|bias)'
WHOLE = r'transformer\.(decoder\.layers\.\d+\.self_attn)\.in_proj_(weight|bias)'
BACKBONE = 'backbone.'
PROFILER = ('total_params', 'total_ops')


class _Layout(CheckpointLayout):
    """Heads, shared or copied, are put right here; subclasses say how names relate to the official ones."""

    models = ('DeformableDETR',)

    def to_official(self, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors under the official names."""
        return state_dict

    def from_official(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors under the layout's names."""
        return state_dict

    def to_ours(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors under our names: every head once, class rows as many as the model's where both are COCO's.

        Heads of 91 rows (one per category id) and of 80 are turned into each other.
        """
        kept = {name: value for name, value in self.to_official(state_dict).items()
                if name.rsplit('.', 1)[-1] not in PROFILER
                and not re.match(r'transformer\.decoder\.(class|bbox)_embed\.', name)}
        ours = {_with_body(own_name(name), model): value for name, value in kept.items()}
        heads, layers = len(model.heads.cls), len(model.decoder.layers)
        ours = {name: value for name, value in ours.items() if heads > 1 or not _is_copy(name)}
        return {name: fit_rows(value, model.num_classes, is_proposal=name.startswith(f'heads.cls.{layers}.'))
                if name.startswith('heads.cls.') else value for name, value in ours.items()}

    def from_ours(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors under the layout's names, with the copies of the heads that its files have."""
        back = inverse_rules(RULES)
        official = {rename(_without_body(name, model), back): value for name, value in state_dict.items()
                    if not name.endswith('num_batches_tracked')}
        return self.from_official(official, model)


@CHECKPOINT_LAYOUTS.register_module()
class OfficialDeformableDETRLayout(_Layout):
    """The release of the paper's authors; the ``args`` of its files are not read."""

    container = 'model'

    def matches(self, state_dict: dict[str, Tensor]) -> bool:
        """Whether the transformer is at the top level."""
        return 'transformer.level_embed' in state_dict

    def from_official(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors with a head per layer, and the decoder's second entries of them."""
        return {**with_shared_heads(state_dict, model), **_second_entries(state_dict, model, 'transformer.decoder')}


@CHECKPOINT_LAYOUTS.register_module()
class TAODeformableDETRLayout(OfficialDeformableDETRLayout):
    """TAO: the official names behind ``model.model.`` (its checkpoints) or ``model.``."""

    container = 'state_dict'

    def matches(self, state_dict: dict[str, Tensor]) -> bool:
        """Whether the transformer is behind one of the prefixes."""
        return _tao_prefix(state_dict) is not None

    def to_official(self, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors without the prefix."""
        prefix = _tao_prefix(state_dict) or ''
        return {name.removeprefix(prefix): value for name, value in state_dict.items()}

    def from_official(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors as in TAO's checkpoints."""
        return {f'model.model.{name}': value for name, value in super().from_official(state_dict, model).items()}


@CHECKPOINT_LAYOUTS.register_module()
class HuggingFaceDeformableDETRLayout(_Layout):
    """The module names of transformers 5 (``load_state_dict``)."""

    def matches(self, state_dict: dict[str, Tensor]) -> bool:
        """Whether these are transformers' names of today."""
        return 'model.level_embed' in state_dict and not _is_hub(state_dict)

    def to_official(self, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors, with query, key and value projections joined."""
        named = {rename(rename(name, HUB_RULES), HF_RULES): value for name, value in state_dict.items()}
        return join_qkv(named, PART, 'transformer.{0}.in_proj_{1}')

    def from_official(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors, with query, key and value projections apart."""
        full = {**with_shared_heads(state_dict, model), **_second_entries(state_dict, model, 'transformer.decoder')}
        back = inverse_rules(HF_RULES)
        return {rename(name, back): value for name, value in split_qkv(full, WHOLE, 'model.{0}.{1}_proj.{2}').items()}


@CHECKPOINT_LAYOUTS.register_module()
class HuggingFaceHubDeformableDETRLayout(HuggingFaceDeformableDETRLayout):
    """The same with the names of the files on the hub, which ``from_pretrained`` reads."""

    def matches(self, state_dict: dict[str, Tensor]) -> bool:
        """Whether these are the hub's names."""
        return 'model.level_embed' in state_dict and _is_hub(state_dict)

    def from_official(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors."""
        back = inverse_rules(HUB_RULES)
        return {rename(name, back): value for name, value in super().from_official(state_dict, model).items()}


@CHECKPOINT_LAYOUTS.register_module()
class MMDetectionDeformableDETRLayout(_Layout):
    """MMDetection 3; files of MMDetection 2 are read as well.

    Its projections have no bias: ours are zero after reading, and not in written files (a warning says so where they
    are not zero, because the network is then another one).
    """

    container = 'state_dict'

    def matches(self, state_dict: dict[str, Tensor]) -> bool:
        """Whether the head has MMDetection's branches and the level codes are there."""
        return 'bbox_head.cls_branches.0.weight' in state_dict and (
            'level_embed' in state_dict or 'bbox_head.transformer.level_embeds' in state_dict)

    def to_official(self, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors, with zero biases of the projections and without counters of batch norms."""
        names = {name: rename(name, MMDET2_RULES) for name in state_dict
                 if not name.startswith('data_preprocessor.')}
        plain = sum(bool(re.fullmatch(r'neck\.convs\.\d+\.conv\.weight', name)) for name in names)
        named = {rename(_numbered(new, plain), MMDET_RULES): state_dict[name] for name, new in names.items()}
        biases = {name.replace('.weight', '.bias'): value.new_zeros(len(value)) for name, value in named.items()
                  if re.fullmatch(r'input_proj\.\d+\.0\.weight', name)}
        return {**biases, **named}

    def to_ours(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors; counters only where the model's batch norms have them."""
        return without_foreign_counters(super().to_ours(state_dict, model), model)

    def from_official(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors, with counters of batch norms and without the biases of the projections."""
        biases = [name for name in state_dict if re.fullmatch(r'input_proj\.\d+\.0\.bias', name)]
        lost = [name for name in biases if state_dict[name].any()]
        if lost:
            print_log(f"MMDetection's projections have no bias: {', '.join(lost)} are not zero and are left out; "
                      f'the written network computes something else.', 'current', 30)
        full = with_shared_heads({name: value for name, value in state_dict.items() if name not in biases}, model)
        back, plain = inverse_rules(MMDET_RULES), len(model.backbone.out_channels)
        return with_counters({_in_neck(rename(name, back), plain): value for name, value in full.items()})


def fit_rows(value: Tensor, rows: int, *, is_proposal: bool = False) -> Tensor:
    """Return COCO's classifier with 80 rows (labels) or 91 (category ids) instead of the other number.

    Rows without a category answer as a fresh head does. The first stage's classifier says 'object' in row 0 alone.
    """
    if {len(value), rows} != {80, 91}:
        return value
    ids = [0, *COCO_IDS[1:]] if is_proposal else COCO_IDS
    if rows == 80:
        return value[ids]
    full = value.new_full((91, *value.shape[1:]), 0. if value.ndim > 1 else -math.log((1 - PRIOR) / PRIOR))
    full[ids] = value
    return full


def with_shared_heads(state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors (official names) with an entry per decoder layer where one head serves all."""
    if len(model.heads.cls) > 1:
        return state_dict
    copies = {}
    for name, value in state_dict.items():
        match = re.fullmatch(HEADS, name)
        if match:
            copies.update({f'{match[1]}.{layer}.{match[3]}': value for layer in range(len(model.decoder.layers))})
    return {**state_dict, **copies}


def _second_entries(state_dict: dict[str, Tensor], model: nn.Module, place: str) -> dict[str, Tensor]:
    """The heads again under the decoder's name: boxes with refinement, classes too with two stages."""
    kinds = ['bbox_embed'] * model.decoder.with_box_refine + ['class_embed'] * (model.proposals is not None)
    return {f'{place}.{name}': value for name, value in state_dict.items() if name.split('.')[0] in kinds}


def _is_copy(name: str) -> bool:
    return bool(re.match(r'heads\.(cls|box)\.[1-9]', name))


def _with_body(name: str, model: nn.Module) -> str:
    if not name.startswith(BACKBONE):
        return name
    return BACKBONE + with_body(name.removeprefix(BACKBONE), model.backbone)


def _without_body(name: str, model: nn.Module) -> str:
    if not name.startswith(BACKBONE):
        return name
    return BACKBONE + without_body(name.removeprefix(BACKBONE), model.backbone)


def _tao_prefix(state_dict: Iterable[str]) -> str | None:
    names = set(state_dict)
    return next((prefix for prefix in ('model.model.', 'model.') if f'{prefix}transformer.level_embed' in names), None)


def _is_hub(state_dict: Iterable[str]) -> bool:
    return any('.conv_encoder.' in name for name in state_dict)


def _numbered(name: str, plain: int) -> str:
    """MMDetection counts added levels apart; here they follow the ``plain`` ones."""
    return re.sub(r'^neck\.extra_convs\.(\d+)', lambda match: f'neck.convs.{int(match[1]) + plain}', name)


def _in_neck(name: str, plain: int) -> str:
    """The inverse of :func:`_numbered`."""
    def place(match: re.Match) -> str:
        number = int(match[1])
        return match[0] if number < plain else f'neck.extra_convs.{number - plain}'
    return re.sub(r'^neck\.convs\.(\d+)', place, name)
