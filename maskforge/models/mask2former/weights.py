"""Public names of Mask2Former's tensors: the official release's, TAO's, MMDetection's and Hugging Face's.

Every layout speaks through the official names: ``to_ours`` goes theirs -> official -> ours, ``from_ours`` back. Rows
of the class head are in the official order, "no object" last. A class head for another number of classes is dropped by
``load_weights``, whose report says so, and so are queries of another number.
"""
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from maskforge.backbones import SwinTransformer
from maskforge.backbones.public_layouts import backbone_from_ours, backbone_to_ours
from maskforge.backbones.swin_weights import recognise
from maskforge.checkpoints.layout import CheckpointLayout
from maskforge.checkpoints.name_rules import inverse_rules, rename
from maskforge.checkpoints.tensor_rules import join_qkv, split_qkv, with_counters, without_foreign_counters
from maskforge.models.mask2former.public_names import (
    HF_RULES,
    MMDET2_RULES,
    MMDET_RULES,
    OLD_RULES,
    RULES,
    own_name,
)
from maskforge.registry import CHECKPOINT_LAYOUTS

BACKBONE = 'backbone.'
CLASS_HEAD, EMPTY_WEIGHT = 'sem_seg_head.predictor.class_embed.', 'criterion.empty_weight'
QUERIES = ('query_feat.weight', 'static_query.weight')
HF_BACKBONE, HF_QUERIES = 'model.pixel_level_module.encoder.', 'model.transformer_module.queries_features.weight'
# self-attention's input projections after the renaming of Hugging Face's names, and the official one
PART = r'(sem_seg_head\.predictor\.transformer_self_attention_layers\.\d+\.self_attn)\.([qkv])_proj\.(weight|bias)'
WHOLE = r'(sem_seg_head\.predictor\.transformer_self_attention_layers\.\d+\.self_attn)\.in_proj_(weight|bias)'

State = dict[str, Tensor]


class _Layout(CheckpointLayout):
    """Backbone and head are put right apart; subclasses say how names relate to the official ones.

    Attributes:
        backbone: what stands before the backbone's names.
        library: whose names the backbone has.
    """

    models = ('Mask2Former',)
    backbone, library = BACKBONE, 'official'

    def head_to_official(self, head: State) -> State:
        """Return the tensors outside the backbone under the official names."""
        return head

    def head_from_official(self, head: State, model: nn.Module) -> State:
        """Return the tensors outside the backbone under the layout's names."""
        return head

    def to_ours(self, state_dict: State, model: nn.Module) -> State:
        """Return the tensors under our names; the loss's class weights are left out, the config has them."""
        backbone = backbone_to_ours(_below(state_dict, self.backbone), model.backbone, self.library)
        head = self.head_to_official({name: value for name, value in state_dict.items()
                                      if not name.startswith(self.backbone) and name != EMPTY_WEIGHT})
        ours = {**_behind(BACKBONE, backbone), **{own_name(name): value for name, value in head.items()}}
        return without_foreign_counters(ours, model)

    def from_ours(self, state_dict: State, model: nn.Module) -> State:
        """Return the tensors under the layout's names, with the loss's class weights."""
        backbone = backbone_from_ours(_below(state_dict, BACKBONE), model.backbone, self.library)
        back = inverse_rules(RULES)
        head = {rename(name, back): value for name, value in state_dict.items() if not name.startswith(BACKBONE)}
        head[EMPTY_WEIGHT] = torch.ones(model.num_classes + 1)
        head[EMPTY_WEIGHT][-1] = model.criterion.no_object_weight
        return {**_behind(self.backbone, backbone), **self.head_from_official(head, model)}


@CHECKPOINT_LAYOUTS.register_module()
class OfficialMask2FormerLayout(_Layout):
    """The release of the paper's authors, on Detectron2; its first version's names are read as well."""

    container = 'model'

    def matches(self, state_dict: State) -> bool:
        """Whether the predictor has its queries."""
        return any(f'sem_seg_head.predictor.{name}' in state_dict for name in QUERIES)

    def head_to_official(self, head: State) -> State:
        """Return the tensors under the names of today."""
        return {rename(name, OLD_RULES): value for name, value in head.items()}

    def from_ours(self, state_dict: State, model: nn.Module) -> State:
        """Return the tensors; the version that goes with them keeps the release from renaming them as old ones."""
        theirs = OrderedDict(super().from_ours(state_dict, model))
        theirs._metadata = {'sem_seg_head': {'version': 2}, 'sem_seg_head.predictor': {'version': 2}}
        return theirs


@CHECKPOINT_LAYOUTS.register_module()
class TAOMask2FormerLayout(OfficialMask2FormerLayout):
    """TAO: the official names behind ``model.``; the class head's first row is "no object" there.

    As pretrained weights TAO takes neither queries nor class head from such a file. Here they are taken where their
    shapes fit.
    """

    backbone, library = 'model.backbone.', 'tao'
    container = 'state_dict'

    def matches(self, state_dict: State) -> bool:
        """Whether the predictor is behind the prefix."""
        return any(f'model.sem_seg_head.predictor.{name}' in state_dict for name in QUERIES)

    def head_to_official(self, head: State) -> State:
        """Return the tensors without the prefix, "no object" last."""
        return _rolled(super().head_to_official({name.removeprefix('model.'): value for name, value in head.items()}),
                       -1)

    def head_from_official(self, head: State, model: nn.Module) -> State:
        """Return the tensors behind the prefix, "no object" first."""
        return {name if name == EMPTY_WEIGHT else f'model.{name}': value for name, value in _rolled(head, 1).items()}

    def from_ours(self, state_dict: State, model: nn.Module) -> State:
        """Return the tensors as in TAO's checkpoints."""
        return dict(super().from_ours(state_dict, model))


@CHECKPOINT_LAYOUTS.register_module()
class MMDetectionMask2FormerLayout(_Layout):
    """MMDetection 3, MMSegmentation (whose head is a ``decode_head``); files of MMDetection 2 are read as well."""

    library = 'mmdetection'
    container = 'state_dict'

    def matches(self, state_dict: State) -> bool:
        """Whether one of the heads has Mask2Former's queries."""
        return any(f'{head}.query_feat.weight' in state_dict for head in ('panoptic_head', 'decode_head'))

    def head_to_official(self, head: State) -> State:
        """Return the tensors."""
        return {rename(rename(_one_head(name), MMDET2_RULES), MMDET_RULES): value for name, value in head.items()}

    def head_from_official(self, head: State, model: nn.Module) -> State:
        """Return the tensors, without the loss's class weights."""
        back = inverse_rules(MMDET_RULES)
        named = {rename(name, back): value for name, value in head.items() if name != EMPTY_WEIGHT}
        # MMDetection calls a norm by its kind
        batch_norms = {name.rsplit('.', 1)[0] for name in named if name.endswith('.running_mean')}
        return {re.sub(r'\.gn\.', '.bn.', name) if name.rsplit('.', 1)[0] in batch_norms else name: value
                for name, value in named.items()}

    def from_ours(self, state_dict: State, model: nn.Module) -> State:
        """Return the tensors, with counters of batch norms."""
        return with_counters(super().from_ours(state_dict, model))


@CHECKPOINT_LAYOUTS.register_module()
class HuggingFaceMask2FormerLayout(_Layout):
    """The module names of transformers 5 (``load_state_dict``), which has Swin backbones."""

    backbone, library = HF_BACKBONE, 'huggingface'

    def matches(self, state_dict: State) -> bool:
        """Whether these are transformers' names of today."""
        return HF_QUERIES in state_dict and not _is_hub(state_dict)

    def head_to_official(self, head: State) -> State:
        """Return the tensors, with query, key and value projections joined."""
        return join_qkv({rename(name, HF_RULES): value for name, value in head.items()}, PART, '{0}.in_proj_{1}')

    def head_from_official(self, head: State, model: nn.Module) -> State:
        """Return the tensors, with query, key and value projections apart."""
        back = inverse_rules(HF_RULES)
        return {rename(name, back): value for name, value in split_qkv(head, WHOLE, '{0}.{1}_proj.{2}').items()}

    def from_ours(self, state_dict: State, model: nn.Module) -> State:
        """Return the tensors, with the last norm of transformers' Swin, which nothing uses.

        Raises:
            ValueError: the backbone is no Swin, or the pyramid's norm another one than theirs.
        """
        _check_for_transformers(model)
        return {**super().from_ours(state_dict, model), **self._unused_norm(model.backbone)}

    def _unused_norm(self, backbone: SwinTransformer) -> State:
        width = backbone.out_channels[-1]
        return _behind(f'{HF_BACKBONE}swin.layernorm.', {'weight': torch.ones(width), 'bias': torch.zeros(width)})


@CHECKPOINT_LAYOUTS.register_module()
class HuggingFaceHubMask2FormerLayout(HuggingFaceMask2FormerLayout):
    """The same with the names of the files on the hub, which ``from_pretrained`` reads: Swin's are older ones."""

    library = 'huggingface_hub'

    def matches(self, state_dict: State) -> bool:
        """Whether these are the hub's names."""
        return HF_QUERIES in state_dict and _is_hub(state_dict)

    def _unused_norm(self, backbone: SwinTransformer) -> State:
        return {}


def _is_hub(state_dict: Iterable[str]) -> bool:
    return recognise(name.removeprefix(HF_BACKBONE) for name in state_dict) == 'huggingface_hub'


def _check_for_transformers(model: nn.Module) -> None:
    if not isinstance(model.backbone, SwinTransformer):
        raise ValueError(f"transformers' Mask2Former has a Swin; the backbone of this model is a "
                         f'{type(model.backbone).__name__}. Write the official layout instead.')
    norm = model.pixel_decoder.lateral.norm
    if not isinstance(norm, nn.GroupNorm):
        raise ValueError(f"transformers' Mask2Former has head_norm='GN'; this model's is {type(norm).__name__}. "
                         f'Write the official layout instead.')


def _one_head(name: str) -> str:
    """MMSegmentation's head by MMDetection's name; norms of every kind by that of the usual one."""
    name = re.sub(r'^decode_head\.', 'panoptic_head.', name)
    return re.sub(r'^(panoptic_head\.pixel_decoder\.(?:lateral|output)_convs\.0)\.bn\.', r'\1.gn.', name)


def _rolled(head: State, by: int) -> State:
    return {name: value.roll(by, 0) if name.startswith(CLASS_HEAD) or name == EMPTY_WEIGHT else value
            for name, value in head.items()}


def _below(state_dict: Mapping[str, Tensor], prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}


def _behind(prefix: str, state_dict: Mapping[str, Tensor]) -> State:
    return {f'{prefix}{name}': value for name, value in state_dict.items()}
