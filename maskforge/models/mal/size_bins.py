"""Small, medium and large boxes by their area in the image."""
from collections.abc import Sequence

MEDIUM_FROM, LARGE_FROM, REFERENCE_LIMIT = 32.0 ** 2, 96.0 ** 2, 1e10
SMALL, MEDIUM, LARGE = range(3)


def feature_bin(area: float | int, rule: str = 'half_open') -> int | None:
    """Return the bin (0 small, 1 medium, 2 large) that decides at which scale a box's mask is computed.

    Args:
        area: of the box, square pixels of the image.
        rule: 'half_open', or 'open': None for an area of 0, 32² or 96² (and from 1e10 on).
    """
    if rule == 'open' and (area in (MEDIUM_FROM, LARGE_FROM) or not 0 < area < REFERENCE_LIMIT):
        return None
    return SMALL if area < MEDIUM_FROM else MEDIUM if area < LARGE_FROM else LARGE


def threshold_of(area: float | int, thresholds: Sequence[float | int], rule: str = 'half_open') -> float:
    """Return the mask threshold of a box: the only one, or that of its size.

    Args:
        rule: 'half_open', or 'open', whose bins are closed above: (0, 32²], (32², 96²] and the rest.
    """
    if len(thresholds) == 1:
        return float(thresholds[0])
    if rule == 'open':
        return float(thresholds[SMALL if area <= MEDIUM_FROM else MEDIUM if area <= LARGE_FROM else LARGE])
    return float(thresholds[feature_bin(area)])


def check_thresholds(thresholds: Sequence[float | int]) -> tuple[float, ...]:
    """Return ``model.mask_thres`` as a tuple.

    Raises:
        ValueError: not one or three numbers from 0 to below 1.
    """
    values = tuple(float(value) for value in thresholds)
    if len(values) not in (1, 3) or not all(0 <= value < 1 for value in values):
        raise ValueError(f'MAL: mask_thres must hold one threshold, or three (small, medium, large), in [0, 1); '
                         f'got {list(thresholds)}.')
    return values
