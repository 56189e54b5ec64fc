"""Which maps of a backbone the transformer takes."""
from collections.abc import Mapping, Sequence

from torch import nn

from maskforge.backbones.stages import TIMM, build_stages
from maskforge.models.deformable_detr.feature_levels import EXTRA_LEVEL


def build_backbone(config: Mapping, num_feature_levels: int, indices: Sequence[int]) -> tuple[nn.Module, bool]:
    """Return the backbone with the levels that ``indices`` ask for, and whether a level is to be added below.

    Raises:
        ValueError: indices that do not exist, are not rising, or are not ``num_feature_levels`` many; a backbone with
            other levels.
    """
    indices = list(indices)
    _check_indices(indices, num_feature_levels)
    stages = [index for index in indices if index != EXTRA_LEVEL]
    if config.get('type') not in TIMM:
        _check_given(config, stages, indices)
    backbone = build_stages(config, stages)
    if len(backbone.out_channels) != len(stages):
        raise ValueError(f'return_interm_indices={indices} needs {len(stages)} levels of the backbone, but its '
                         f'out_indices={tuple(config.get("out_indices", ()))} give {len(backbone.out_channels)}. Make '
                         f'them agree.')
    return backbone, EXTRA_LEVEL in indices


def _check_indices(indices: list[int], num_feature_levels: int) -> None:
    if not indices or indices != [index for index in range(EXTRA_LEVEL + 1) if index in indices]:
        raise ValueError(f'return_interm_indices={indices} must be rising numbers from 0 to {EXTRA_LEVEL}: 0 .. 3 are '
                         f'the stages of the backbone (strides 4 .. 32), {EXTRA_LEVEL} one more level below them.')
    if len(indices) != num_feature_levels:
        raise ValueError(f'num_feature_levels={num_feature_levels}, but return_interm_indices={indices} are '
                         f'{len(indices)} levels; the two must agree.')
    if indices == [EXTRA_LEVEL]:
        raise ValueError(f'return_interm_indices={indices}: the added level {EXTRA_LEVEL} needs one of the backbone.')


def _check_given(config: Mapping, stages: list[int], indices: list[int]) -> None:
    given = config.get('out_indices')
    if given is not None and list(given) != stages:
        raise ValueError(f'backbone.out_indices={tuple(given)} are not the stages {tuple(stages)} that '
                         f'return_interm_indices={indices} asks for. Leave backbone.out_indices out, or make them '
                         f'agree.')
