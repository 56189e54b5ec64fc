"""``frozen_stages``: which parts of the backbone do not train, in the two readings that MAL's versions have."""
from collections.abc import Sequence

from mmengine.logging import print_log
from torch import nn

READINGS = ('list', 'range')


def frozen_indices(stages: Sequence[int], reading: str, depth: int) -> list[int]:
    """Return the frozen stages: 0 is the patch embedding, i the i-th block counted from 1.

    Args:
        stages: as configured; [-1] freezes nothing.
        reading: 'list': the entries themselves. 'range': [a, b] stands for the blocks max(a, 1) to b, and for the
            patch embedding too if a is 0 and b above 0; [b] is [0, b].
        depth: blocks of the backbone.

    Raises:
        ValueError: another reading, a range without one or two ends, or stages that do not exist.
    """
    stages = [int(stage) for stage in stages]
    if reading not in READINGS:
        raise ValueError(f'MAL: frozen_stages_as={reading!r} is not one of {", ".join(READINGS)}.')
    if any(not -1 <= stage <= depth for stage in stages):
        raise ValueError(f'MAL: frozen_stages={stages} must lie in -1 (nothing), 0 (patch embedding) and 1 to {depth} '
                         f'(blocks).')
    if reading == 'list':
        return sorted({stage for stage in stages if stage >= 0})
    if len(stages) not in (1, 2):
        raise ValueError(f'MAL: frozen_stages={stages} is read as a range and needs one or two ends.')
    first, last = (0, *stages) if len(stages) == 1 else stages
    stem = [0] if first == 0 and last > 0 else []
    return stem + list(range(max(first, 1), last + 1))


def frozen_modules(backbone: nn.Module, stages: Sequence[int], reading: str) -> list[nn.Module]:
    """Take the stages' gradients away and return their modules, which should also stay in evaluation mode.

    Raises:
        ValueError: see :func:`frozen_indices`; or a backbone without ``stages()`` is to be frozen.
    """
    if all(stage < 0 for stage in stages):
        return []
    if not hasattr(backbone, 'stages'):
        raise ValueError(f'MAL: frozen_stages={list(stages)} needs a backbone with stages() (MALViT, FAN); '
                         f'{type(backbone).__name__} has none. Leave it at [-1] and use the options of the backbone.')
    parts = backbone.stages()
    chosen = frozen_indices(stages, reading, len(parts) - 1)
    if not chosen:
        print_log(f'frozen_stages={list(stages)} read as a {reading} freezes nothing.', 'current', 30)
    for index in chosen:
        parts[index].requires_grad_(False)
    return [parts[index] for index in chosen]
