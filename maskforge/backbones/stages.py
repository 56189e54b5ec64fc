"""Building a backbone with chosen stages."""
from collections.abc import Mapping, Sequence

from torch import nn

from maskforge.registry import MODELS

#: timm's networks count from their own stem; all end with the same stage, so levels are counted from there
TIMM = ('TimmBackbone', 'TIMMBackbone')
LAST_STAGE = 3


def build_stages(config: Mapping, stages: Sequence[int]) -> nn.Module:
    """Build the backbone of ``config`` with the stages 0 .. 3 (strides 4 .. 32) that are asked for.

    ``out_indices`` of the config wins where it is given.

    Raises:
        ValueError: a network of timm that does not end at stride 32, without ``out_indices``.
    """
    config = dict(config)
    if config.get('type') not in TIMM or 'out_indices' in config:
        return MODELS.build({'out_indices': tuple(stages), **config})
    backbone = MODELS.build({**config, 'out_indices': tuple(stage - LAST_STAGE - 1 for stage in stages)})
    # a dilated network ends at 16 instead of 32
    if any(stride > 4 * 2**stage for stride, stage in zip(backbone.strides, stages)):
        raise ValueError(f'backbone {config.get("model_name")!r} does not end at stride 32: its last levels have the '
                         f'strides {backbone.strides}. Choose backbone.out_indices.')
    return backbone
