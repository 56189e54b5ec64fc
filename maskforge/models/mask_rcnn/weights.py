"""Public names of Mask R-CNN's and Faster R-CNN's tensors: MMDetection's, which are ours, and torchvision's."""
import re

import torch
from torch import Tensor, nn

from maskforge.checkpoints.layout import CheckpointLayout
from maskforge.checkpoints.name_rules import COCO_IDS, Rule, inverse_rules, rename
from maskforge.registry import CHECKPOINT_LAYOUTS

DETECTORS = ('MaskRCNN', 'FasterRCNN')
BOX_PREDICTOR, MASK_PREDICTOR = 'roi_heads.box_predictor', 'roi_heads.mask_predictor'

# torchvision's name, ours; the first rule that fits. {0}, {1} ... are the groups.
RULES: list[Rule] = [
    (r'backbone\.body\.(.+)', 'backbone.{0}'),
    (r'backbone\.fpn\.inner_blocks\.(\d+)\.0\.(.+)', 'neck.lateral_convs.{0}.conv.{1}'),
    (r'backbone\.fpn\.layer_blocks\.(\d+)\.0\.(.+)', 'neck.fpn_convs.{0}.conv.{1}'),
    (r'backbone\.fpn\.inner_blocks\.(\d+)\.1\.(.+)', 'neck.lateral_convs.{0}.bn.{1}'),
    (r'backbone\.fpn\.layer_blocks\.(\d+)\.1\.(.+)', 'neck.fpn_convs.{0}.bn.{1}'),
    (r'rpn\.head\.conv\.(\d+)\.0\.(.+)', 'rpn_head.rpn_conv.{0}.conv.{1}'),
    (r'rpn\.head\.cls_logits\.(.+)', 'rpn_head.rpn_cls.{0}'),
    (r'rpn\.head\.bbox_pred\.(.+)', 'rpn_head.rpn_reg.{0}'),
    (r'roi_heads\.box_head\.fc6\.(.+)', 'roi_head.bbox_head.shared_fcs.0.{0}'),
    (r'roi_heads\.box_head\.fc7\.(.+)', 'roi_head.bbox_head.shared_fcs.1.{0}'),
    (r'roi_heads\.box_head\.([0-3])\.0\.(.+)', 'roi_head.bbox_head.shared_convs.{0}.conv.{1}'),
    (r'roi_heads\.box_head\.([0-3])\.1\.(.+)', 'roi_head.bbox_head.shared_convs.{0}.bn.{1}'),
    (r'roi_heads\.box_head\.5\.(.+)', 'roi_head.bbox_head.shared_fcs.0.{0}'),
    (r'roi_heads\.box_predictor\.cls_score\.(.+)', 'roi_head.bbox_head.fc_cls.{0}'),
    (r'roi_heads\.box_predictor\.bbox_pred\.(.+)', 'roi_head.bbox_head.fc_reg.{0}'),
    (r'roi_heads\.mask_head\.(\d+)\.0\.(.+)', 'roi_head.mask_head.convs.{0}.conv.{1}'),
    (r'roi_heads\.mask_head\.(\d+)\.1\.(.+)', 'roi_head.mask_head.convs.{0}.bn.{1}'),
    (r'roi_heads\.mask_predictor\.conv5_mask\.(.+)', 'roi_head.mask_head.upsample.{0}'),
    (r'roi_heads\.mask_predictor\.mask_fcn_logits\.(.+)', 'roi_head.mask_head.conv_logits.{0}'),
]
# Names in files from before torchvision 0.12, and since.
OLD_RULES: list[Rule] = [
    (r'backbone\.fpn\.(inner|layer)_blocks\.(\d+)\.(weight|bias)', 'backbone.fpn.{0}_blocks.{1}.0.{2}'),
    (r'rpn\.head\.conv\.(weight|bias)', 'rpn.head.conv.0.0.{0}'),
]


@CHECKPOINT_LAYOUTS.register_module()
class MMDetectionRCNNLayout(CheckpointLayout):
    """MMDetection 2.x and 3.x: the names are ours. Older parts of its files that we do not have are left out."""

    models = DETECTORS
    container = 'state_dict'

    def matches(self, state_dict: dict[str, Tensor]) -> bool:
        """Whether these are MMDetection's (and our own) names."""
        return 'rpn_head.rpn_cls.weight' in state_dict and 'roi_head.bbox_head.fc_cls.weight' in state_dict

    def to_ours(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors; a preprocessor's constants, which are the config's here, are left out."""
        return {name: value for name, value in state_dict.items() if not name.startswith('data_preprocessor.')}

    def from_ours(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors as they are."""
        return dict(state_dict)


@CHECKPOINT_LAYOUTS.register_module()
class TorchvisionRCNNLayout(CheckpointLayout):
    """torchvision's ``maskrcnn_resnet50_fpn`` and ``fasterrcnn_resnet50_fpn``, version 1 (old names too) and 2.

    torchvision puts the background first and regresses boxes and masks for it as well, which nothing uses. Its COCO
    heads have 91 rows, one per category id; a model of 80 classes takes the rows that COCO uses.
    Written files have K + 1 rows in torchvision's order, zeros for the background's boxes and masks.
    """

    models = DETECTORS

    def matches(self, state_dict: dict[str, Tensor]) -> bool:
        """Whether these are torchvision's names."""
        return f'{BOX_PREDICTOR}.cls_score.weight' in state_dict and 'rpn.head.cls_logits.weight' in state_dict

    def to_ours(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors under our names, background last; what no rule knows keeps its name."""
        state = rename_old(state_dict)
        rows = _foreground_rows(len(state[f'{BOX_PREDICTOR}.cls_score.weight']), model.num_classes)
        ours = {_to_our_name(name, state): _to_our_rows(name, value, rows) for name, value in state.items()}
        return _fit_batch_norms(ours, model)

    def from_ours(self, state_dict: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Return the tensors under torchvision's names (0.12 and later), background first."""
        theirs = {}
        for name, value in state_dict.items():
            new = _to_their_name(name, state_dict)
            theirs[new] = _to_their_rows(new, value)
        return theirs


def rename_old(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of an old torchvision file under the names that torchvision uses since 0.12."""
    # mask_fcn1 .. mask_fcn4 became 0 .. 3
    names = {name: re.sub(r'mask_head\.mask_fcn(\d)\.', lambda m: f'mask_head.{int(m[1]) - 1}.0.', name)
             for name in state_dict}
    return {rename(names[name], OLD_RULES): value for name, value in state_dict.items()}


INVERSE_RULES = inverse_rules(RULES)


def _to_our_name(name: str, state: dict[str, Tensor]) -> str:
    if 'rpn.head.conv.1.0.weight' not in state:  # a single convolution is not in a Sequential here
        name = re.sub(r'^rpn\.head\.conv\.0\.0\.', 'rpn_head.rpn_conv.', name)
    return rename(name, RULES)


def _to_their_name(name: str, state: dict[str, Tensor]) -> str:
    if 'rpn_head.rpn_conv.weight' in state:
        name = re.sub(r'^rpn_head\.rpn_conv\.', 'rpn_head.rpn_conv.0.conv.', name)
    if 'roi_head.bbox_head.shared_convs.0.conv.weight' in state:
        name = re.sub(r'^roi_head\.bbox_head\.shared_fcs\.0\.', 'roi_heads.box_head.5.', name)
    return rename(name, INVERSE_RULES)


def _foreground_rows(rows: int, num_classes: int) -> list[int]:
    """Rows of torchvision's classifier that are our classes, in our order."""
    return COCO_IDS if rows == 91 and num_classes == len(COCO_IDS) else list(range(1, rows))


def _to_our_rows(name: str, value: Tensor, rows: list[int]) -> Tensor:
    if name.startswith(f'{BOX_PREDICTOR}.cls_score'):
        return value[[*rows, 0]]
    if name.startswith(f'{BOX_PREDICTOR}.bbox_pred'):
        return value.unflatten(0, (-1, 4))[rows].flatten(0, 1)
    return value[rows] if name.startswith(f'{MASK_PREDICTOR}.mask_fcn_logits') else value


def _to_their_rows(name: str, value: Tensor) -> Tensor:
    if name.startswith(f'{BOX_PREDICTOR}.cls_score'):
        return torch.cat((value[-1:], value[:-1]))
    if name.startswith(f'{BOX_PREDICTOR}.bbox_pred'):
        return torch.cat((torch.zeros_like(value[:4]), value))
    if name.startswith(f'{MASK_PREDICTOR}.mask_fcn_logits'):
        return torch.cat((torch.zeros_like(value[:1]), value))
    return value


def _fit_batch_norms(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Frozen batch norms have no counter, the others have one: add or leave out what the model's kind differs in."""
    counters = {name for name in model.state_dict() if name.endswith('.num_batches_tracked')}
    kept = {name: value for name, value in state.items()
            if not name.endswith('.num_batches_tracked') or name in counters}
    for name in counters - kept.keys():
        if name.replace('num_batches_tracked', 'running_mean') in kept:
            kept[name] = torch.zeros((), dtype=torch.long)
    return kept
