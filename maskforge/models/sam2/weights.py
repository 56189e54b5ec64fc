"""Public names of SAM 2's tensors: the official release's and Hugging Face's; weights of the trunk alone.

Our names are the official ones but for two linear maps per block of the trunk, and behind ``network.`` in a model.
A 2.0 file in a 2.1 model (or the other way round) lacks, or has more by, three tensors: the report names them.
"""
import torch
from torch import Tensor, nn

from maskforge.checkpoints.layout import CheckpointLayout
from maskforge.checkpoints.name_rules import inverse_rules, rename
from maskforge.models.sam2.network import SAM2Network
from maskforge.models.sam2.public_names import HF_RULES, OFFICIAL_RULES
from maskforge.registry import CHECKPOINT_LAYOUTS

State = dict[str, Tensor]
TRUNK, CODE = 'image_encoder.trunk.', 'sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix'
LABELS = 'sam_prompt_encoder.point_embeddings.{}.weight'
#: transformers has the code's frequencies twice, and the labels' vectors in one tensor
HF_CODES = ('shared_image_embedding.positional_embedding', 'prompt_encoder.shared_embedding.positional_embedding')
HF_LABELS = 'prompt_encoder.point_embed.weight'
#: what transformers' network always has
HF_SETTINGS = dict(use_obj_ptrs_in_encoder=True, use_mlp_for_obj_ptr_proj=True, use_high_res_features_in_sam=True,
                   pred_obj_scores=True, pred_obj_scores_mlp=True)


@CHECKPOINT_LAYOUTS.register_module()
class OfficialSAM2Layout(CheckpointLayout):
    """The release (``{'model': ...}``), and what its trainer writes."""

    models = ('SAM2', 'SAM2Network')
    container = 'model'

    def matches(self, state_dict: State) -> bool:
        """Whether decoder and trunk have the release's names."""
        return {'sam_mask_decoder.mask_tokens.weight', f'{TRUNK}blocks.0.mlp.layers.0.weight'} <= state_dict.keys()

    def to_official(self, state_dict: State) -> State:
        """Return the tensors under the official names."""
        return state_dict

    def from_official(self, state_dict: State, network: SAM2Network) -> State:
        """Return the tensors under the layout's names."""
        return state_dict

    def to_ours(self, state_dict: State, model: nn.Module) -> State:
        """Return the tensors under our names."""
        prefix = _prefix(model)
        return {prefix + rename(name, OFFICIAL_RULES): value for name, value in self.to_official(state_dict).items()}

    def from_ours(self, state_dict: State, model: nn.Module) -> State:
        """Return the network's tensors under the layout's names."""
        prefix, back = _prefix(model), inverse_rules(OFFICIAL_RULES)
        own = {rename(name.removeprefix(prefix), back): value for name, value in state_dict.items()
               if name.startswith(prefix)}
        network = model.get_submodule(prefix.rstrip('.'))
        return self.from_official({name: value for name, value in own.items() if isinstance(value, Tensor)}, network)


@CHECKPOINT_LAYOUTS.register_module()
class HuggingFaceSAM2Layout(OfficialSAM2Layout):
    """transformers 5: ``Sam2VideoModel``, which the files on the hub are of, and ``Sam2Model`` without memory."""

    container = None

    def matches(self, state_dict: State) -> bool:
        """Whether the prompt encoder has transformers' names."""
        return HF_LABELS in state_dict and HF_CODES[0] in state_dict

    def to_official(self, state_dict: State) -> State:
        """Return the tensors under the official names, a vector for each label apart."""
        official = {rename(name, HF_RULES): value for name, value in state_dict.items()
                    if name not in (*HF_CODES, HF_LABELS)}
        labels = {LABELS.format(label): row for label, row in enumerate(state_dict[HF_LABELS].split(1))}
        return {**official, **labels, CODE: state_dict[HF_CODES[0]]}

    def from_official(self, state_dict: State, network: SAM2Network) -> State:
        """Return the tensors under transformers' names.

        Raises:
            ValueError: the network has a setting that transformers' has not.
        """
        for name, wanted in HF_SETTINGS.items():
            if getattr(network.settings, name) != wanted:
                raise ValueError(f"transformers' SAM 2 has {name}={wanted}; this network has {not wanted}. Write the "
                                 'official layout instead.')
        back, state_dict = inverse_rules(HF_RULES), dict(state_dict)
        code = state_dict.pop(CODE)
        labels = torch.cat([state_dict.pop(LABELS.format(label)) for label in range(4)])
        return {**{rename(name, back): value for name, value in state_dict.items()}, **dict.fromkeys(HF_CODES, code),
                HF_LABELS: labels}


@CHECKPOINT_LAYOUTS.register_module()
class HieraTrunkLayout(CheckpointLayout):
    """Weights for the trunk alone: whole SAM 2 files of either layout, the release's trunk, timm's, MAE's Hiera.

    Hiera's own position codes (Ryali et al. 2023) are one per token and have no place here: they are dropped and
    listed. Those of its later version with absolute windows fit where their sizes do.
    """

    models = ('HieraDet',)

    def matches(self, state_dict: State) -> bool:
        """Whether there is a block of a Hiera."""
        return any(name.endswith('blocks.0.attn.qkv.weight') for name in state_dict) and 'cls_token' not in state_dict

    def to_ours(self, state_dict: State, model: nn.Module) -> State:
        """Return the trunk's tensors; other parts of a file are left out."""
        official = {rename(name, HF_RULES): value for name, value in state_dict.items()}
        trunk = {name: value for name, value in official.items() if name.startswith(TRUNK)}
        trunk = trunk or {TRUNK + name: value for name, value in official.items()}
        ours = {rename(name, OFFICIAL_RULES).removeprefix(TRUNK): value for name, value in trunk.items()}
        if 'pos_embed_win' in ours:
            ours['pos_embed_window'] = ours.pop('pos_embed_win')
        return {name: value for name, value in ours.items() if name in model.state_dict()}

    def from_ours(self, state_dict: State, model: nn.Module) -> State:
        """Return the tensors as in the release's whole files."""
        back = inverse_rules(OFFICIAL_RULES)
        return {rename(TRUNK + name, back): value for name, value in state_dict.items()}


def _prefix(model: nn.Module) -> str:
    return '' if isinstance(model, SAM2Network) else 'network.'
