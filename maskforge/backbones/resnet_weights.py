"""ResNet's tensors in Detectron2's layout; ours is torchvision's and MMDetection's.

Layouts of whole models call :func:`to_ours` and :func:`from_ours` with the part of the backbone, its prefix stripped.
"""
from collections.abc import Mapping

from torch import Tensor, nn

from maskforge.checkpoints.layout import CheckpointLayout
from maskforge.checkpoints.name_rules import Rule, inverse_rules, rename
from maskforge.registry import CHECKPOINT_LAYOUTS

_STAGES = range(1, 5)
# Detectron2's name, ours; its stages are counted from the stem
RULES: list[Rule] = [
    (r'stem\.conv1\.norm\.(.+)', 'bn1.{0}'),
    (r'stem\.conv1\.(.+)', 'conv1.{0}'),
    *[rule for stage in _STAGES for rule in (
        (rf'res{stage + 1}\.(\d+)\.shortcut\.norm\.(.+)', f'layer{stage}.{{0}}.downsample.1.{{1}}'),
        (rf'res{stage + 1}\.(\d+)\.shortcut\.(.+)', f'layer{stage}.{{0}}.downsample.0.{{1}}'),
        (rf'res{stage + 1}\.(\d+)\.conv(\d)\.norm\.(.+)', f'layer{stage}.{{0}}.bn{{1}}.{{2}}'),
        (rf'res{stage + 1}\.(\d+)\.conv(\d)\.(.+)', f'layer{stage}.{{0}}.conv{{1}}.{{2}}'))],
]


def to_ours(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return Detectron2's tensors under our names; the classifier is left out."""
    return {rename(name, RULES): value for name, value in state_dict.items()
            if not name.startswith(('stem.fc.', 'linear.'))}


def from_ours(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return our tensors under Detectron2's names, whose frozen norms count no batches."""
    back = inverse_rules(RULES)
    return {rename(name, back): value for name, value in state_dict.items()
            if not name.endswith('num_batches_tracked')}


@CHECKPOINT_LAYOUTS.register_module()
class Detectron2ResNetLayout(CheckpointLayout):
    """Detectron2's backbone; its own files want ``style='caffe'``, those converted from torchvision 'pytorch'."""

    models = ('ResNet',)

    def matches(self, state_dict: dict[str, Tensor]) -> bool:
        """Whether there is Detectron2's stem."""
        return 'stem.conv1.weight' in state_dict and 'res2.0.conv1.weight' in state_dict

    def to_ours(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors under our names."""
        return to_ours(state_dict)

    def from_ours(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors under Detectron2's names."""
        return from_ours(state_dict)
