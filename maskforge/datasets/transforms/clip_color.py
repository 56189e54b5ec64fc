"""Colour changes of clips, on uint8 BGR frames."""
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from maskforge.registry import TRANSFORMS
from maskforge.structures import sample_rng

from .clip_geometry import check_share, per_frame
from .ground_truth import Number

_LEVELS = np.arange(256, dtype=np.float32)


@TRANSFORMS.register_module()
class ClipColorJitter(BaseTransform):
    """Change brightness, contrast, saturation and hue, in an order that is drawn too.

    Args:
        brightness, contrast, saturation: a number v for factors from max(0, 1 - v) to 1 + v, or (lowest, highest);
            None or 0 leaves it out.
        hue: the same for turns of the colour circle: a number up to 0.5, or (lowest, highest).
        consistent: one draw for all frames, else one a frame.
    """

    def __init__(self, brightness: Number | Sequence[Number] | None = None,
                 contrast: Number | Sequence[Number] | None = None,
                 saturation: Number | Sequence[Number] | None = None, hue: Number | Sequence[Number] | None = None,
                 consistent: bool = True) -> None:
        self.consistent = consistent
        ranges = [_range('brightness', brightness), _range('contrast', contrast), _range('saturation', saturation),
                  _range('hue', hue, centre=0., lowest=-0.5, highest=0.5)]
        self.ranges = dict(zip(CHANGES, ranges))

    def transform(self, results: dict) -> dict:
        frames = results['frames']
        drawn = per_frame([self._draw() for _ in range(1 if self.consistent else len(frames))], len(frames))
        return {**results, 'frames': [_apply(image, steps) for image, steps in zip(frames, drawn)]}

    def _draw(self) -> list[tuple[str, float]]:
        rng = sample_rng()
        names = [list(CHANGES)[index] for index in rng.permutation(len(CHANGES))]
        return [(name, rng.uniform(*self.ranges[name])) for name in names if self.ranges[name] is not None]


@TRANSFORMS.register_module()
class ClipRandomGrayscale(BaseTransform):
    """Take the colours away.

    Args:
        prob: probability.
        consistent: one draw for all frames, else one a frame.
    """

    def __init__(self, prob: Number = 0.1, consistent: bool = True) -> None:
        self.prob, self.consistent = check_share('ClipRandomGrayscale', 'prob', prob), consistent

    def transform(self, results: dict) -> dict:
        frames = results['frames']
        coins = per_frame(sample_rng().random(1 if self.consistent else len(frames)) < self.prob, len(frames))
        return {**results, 'frames': [_grey(image) if coin else image for image, coin in zip(frames, coins)]}


def adjust_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiply."""
    return cv2.LUT(image, _levels(_LEVELS * factor))


def adjust_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Move away from the image's mean grey (factors above 1) or towards it."""
    mean = round(float(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).mean()))
    return cv2.LUT(image, _levels(mean + factor * (_LEVELS - mean)))


def adjust_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Move away from the pixel's grey (factors above 1) or towards it."""
    return cv2.addWeighted(image, factor, _grey(image), 1 - factor, 0)


def adjust_hue(image: np.ndarray, turn: float) -> np.ndarray:
    """Turn the hue by a share of the circle."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV_FULL)
    hsv[..., 0] += np.uint8(round(turn * 256) % 256)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR_FULL)


#: by the names of the settings
CHANGES: dict[str, Callable[[np.ndarray, float], np.ndarray]] = dict(
    brightness=adjust_brightness, contrast=adjust_contrast, saturation=adjust_saturation, hue=adjust_hue)


def _apply(image: np.ndarray, steps: Sequence[tuple[str, float]]) -> np.ndarray:
    for name, amount in steps:
        image = CHANGES[name](image, amount)
    return image


def _grey(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def _levels(values: np.ndarray) -> np.ndarray:
    return values.round().clip(0, 255).astype(np.uint8)


def _range(name: str, value: Number | Sequence[Number] | None, *, centre: float = 1., lowest: float = 0.,
           highest: float = float('inf')) -> tuple[float, float] | None:
    if value is None:
        return None
    if isinstance(value, Sequence):
        low, high = float(value[0]), float(value[1])
    else:
        low, high = max(centre - value, lowest) if name != 'hue' else -float(value), centre + value
    if not lowest <= low <= high <= highest:
        raise ValueError(f'ClipColorJitter: {name}={value!r} gives the range {low} to {high}, which must lie in '
                         f'{lowest} to {highest}.')
    return None if low == high == centre else (low, high)
