"""Public names of MAL's tensors: ours are those of the released checkpoints, ``student.`` and ``teacher.`` in front."""
from torch import Tensor, nn

from maskforge.checkpoints.layout import CheckpointLayout
from maskforge.registry import CHECKPOINT_LAYOUTS

STUDENT, TEACHER = 'student.', 'teacher.'
BACKBONE = 'student.backbone.'
STEM_KEY, PATCH_KEY = 'patch_embed.proj.0.0.weight', 'patch_embed.proj.weight'
CLASSES = 1000  # rows of the classifier that nothing uses


@CHECKPOINT_LAYOUTS.register_module()
class MALLayout(CheckpointLayout):
    """The official release and TAO 5.x (inside a Lightning checkpoint), and our own files.

    FAN backbones carry a classifier there, which nothing uses: it is left out, and written as zeros. A file with the
    student alone gives its weights to both networks.
    """

    models = ('MAL',)
    container = 'state_dict'

    def matches(self, state_dict: dict[str, Tensor]) -> bool:
        """Whether there is a student with a backbone, and it is not timm's."""
        return any(name.startswith(BACKBONE) for name in state_dict) and not _is_timm(state_dict)

    def to_ours(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return both networks' tensors.

        Raises:
            ValueError: the file's patch embedding is of the other kind than the model's.
        """
        check_patch_embedding(state_dict, model)
        return _both_networks({name: value for name, value in state_dict.items() if not _is_classifier(name)})

    def from_ours(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return both networks' tensors alone."""
        theirs = {name: value for name, value in state_dict.items() if name.startswith((STUDENT, TEACHER))}
        is_fan = f'{BACKBONE}pos_embed.token_projection.weight' in theirs
        return {**theirs, **_classifiers(theirs)} if is_fan else theirs


@CHECKPOINT_LAYOUTS.register_module()
class TimmMALLayout(MALLayout):
    """TAO 6: the backbone is timm's ``VisionTransformer`` with its classifier, which nothing uses."""

    def matches(self, state_dict: dict[str, Tensor]) -> bool:
        """Whether the student's backbone has the tensors of timm's whole model."""
        return _is_timm(state_dict)

    def from_ours(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return both networks' tensors with classifiers of zeros.

        Raises:
            ValueError: a model with the convolutional stem, or with another backbone than a ViT.
        """
        theirs = {name: value for name, value in state_dict.items() if name.startswith((STUDENT, TEACHER))}
        if f'{BACKBONE}pos_embed' not in theirs or f'{BACKBONE}{PATCH_KEY}' not in theirs:
            raise ValueError("TAO 6 files hold timm's plain ViT; this model's backbone is another one "
                             "(compat='reference' has a convolutional stem).")
        return {**theirs, **_classifiers(theirs)}


@CHECKPOINT_LAYOUTS.register_module()
class MALBackboneLayout(CheckpointLayout):
    """The backbone alone under its own names: MAE, DeiT and FAN weights, for both networks."""

    models = ('MAL',)
    container = 'model'

    def matches(self, state_dict: dict[str, Tensor]) -> bool:
        """Whether there are blocks at the top level."""
        return 'blocks.0.norm1.weight' in state_dict

    def to_ours(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors as both networks' backbones."""
        return _both_networks({f'{BACKBONE}{name}': value for name, value in state_dict.items()
                               if not _is_classifier(f'{BACKBONE}{name}')})

    def from_ours(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the student's backbone."""
        return {name.removeprefix(BACKBONE): value for name, value in state_dict.items() if name.startswith(BACKBONE)}


def check_patch_embedding(state_dict: dict[str, Tensor], model: nn.Module) -> None:
    """Compare the file's patch embedding with the model's.

    Raises:
        ValueError: one is the convolutional stem, the other a single convolution; the message names the setting.
    """
    own = model.state_dict()
    if f'{BACKBONE}pos_embed' not in own or f'{BACKBONE}pos_embed' not in state_dict:
        return
    stem, wants_stem = (f'{BACKBONE}{STEM_KEY}' in state for state in (state_dict, own))
    if stem and not wants_stem:
        raise ValueError("this is a MAL checkpoint with a convolutional stem (the official release or TAO 5): it needs "
                         "model.compat='reference', and the values of the data set that go with it (see the README of "
                         "maskforge/models/mal).")
    if wants_stem and f'{BACKBONE}{PATCH_KEY}' in state_dict:
        mode = 'tao6' if _is_timm(state_dict) else 'default'
        raise ValueError(f"this MAL checkpoint has a plain patch embedding, the model a convolutional stem: set "
                         f"model.compat='{mode}'.")


def _is_timm(state_dict: dict[str, Tensor]) -> bool:
    wanted = (PATCH_KEY, 'pos_embed', 'head.weight')
    return all(f'{BACKBONE}{name}' in state_dict for name in wanted)


def _is_classifier(name: str) -> bool:
    return name.partition('.')[2].startswith(('backbone.head.', 'backbone.fc_norm.'))


def _both_networks(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    if any(name.startswith(TEACHER) for name in state_dict):
        return state_dict
    copies = {TEACHER + name.removeprefix(STUDENT): value for name, value in state_dict.items()
              if name.startswith(STUDENT)}
    return {**state_dict, **copies}


def _classifiers(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Zeros in the place of both networks' classifiers."""
    zeros = {}
    for network in (STUDENT, TEACHER):
        norm = state_dict.get(f'{network}backbone.norm.weight')
        if norm is not None:
            zeros[f'{network}backbone.head.weight'] = norm.new_zeros(CLASSES, len(norm))
            zeros[f'{network}backbone.head.bias'] = norm.new_zeros(CLASSES)
    return zeros
