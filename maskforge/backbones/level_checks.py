"""Checks that the backbones of several levels share."""
from collections.abc import Sequence


def check_levels(backbone: str, out_indices: Sequence[int], frozen_stages: int, number: int) -> None:
    """Check which levels are returned and which stages are frozen, of a network of ``number`` stages.

    Raises:
        ValueError: levels that do not exist or do not rise, stages that do not exist.
    """
    if not out_indices or list(out_indices) != [level for level in range(number) if level in out_indices]:
        raise ValueError(f'{backbone}: out_indices={tuple(out_indices)} must be rising levels in 0 .. {number - 1}.')
    if not -1 <= frozen_stages <= number:
        raise ValueError(f'{backbone}: frozen_stages={frozen_stages} must be in -1 .. {number}.')
