"""Random changes of colour."""
from collections.abc import Sequence

import cv2
import numpy as np
from mmcv import transforms as mmcv_transforms
from mmcv.transforms import BaseTransform

from maskforge.registry import TRANSFORMS
from maskforge.structures import sample_rng

from .ground_truth import Number
from .shared_draw import shared_draw


@TRANSFORMS.register_module()
class PhotoMetricDistortion(BaseTransform):
    """SSD's colour distortion (Liu et al., 2016): each of five changes happens with probability one half.

    In this order: brightness, contrast (before or after the next two, drawn too), saturation, hue, exchange of
    channels. The image keeps its type; a uint8 image is rounded and clipped once, at the end.

    Args:
        brightness_delta: the most that is added or taken away, in grey levels.
        contrast_range, saturation_range: (lowest, highest) factor.
        hue_delta: the most that hue is turned, in degrees.
        swap_channels: exchange channels too; without, four changes are left.
    """

    def __init__(self, brightness_delta: Number = 32, contrast_range: Sequence[Number] = (0.5, 1.5),
                 saturation_range: Sequence[Number] = (0.5, 1.5), hue_delta: Number = 18, *,
                 swap_channels: bool = True):
        self.swap_channels = swap_channels
        self.brightness_delta, self.hue_delta = brightness_delta, hue_delta
        self.contrast_range, self.saturation_range = tuple(contrast_range), tuple(saturation_range)

    def transform(self, results: dict) -> dict:
        img, drawn = results['img'], self._draw()
        changed = img.astype(np.float32) + np.float32(drawn['brightness'])
        if drawn['contrast_first']:
            changed *= np.float32(drawn['contrast'])
        changed = self._turn_colours(changed, drawn['saturation'], drawn['hue'])
        if not drawn['contrast_first']:
            changed *= np.float32(drawn['contrast'])
        changed = changed[..., drawn['channels']]
        results['img'] = changed.round().clip(0, 255).astype(np.uint8) if img.dtype == np.uint8 else changed
        return results

    @staticmethod
    def _turn_colours(img: np.ndarray, saturation: Number, hue: Number) -> np.ndarray:
        if saturation == 1 and hue == 0:
            return img
        hsv = cv2.cvtColor(img, cv2.COLOR_BGR2HSV)
        hsv[..., 0] = (hsv[..., 0] + np.float32(hue)) % 360
        hsv[..., 1] *= np.float32(saturation)
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)

    @shared_draw
    def _draw(self) -> dict:
        rng = sample_rng()
        coins = rng.random(5) < 0.5
        return dict(
            brightness=rng.uniform(-self.brightness_delta, self.brightness_delta) if coins[0] else 0.,
            contrast_first=bool(rng.random() < 0.5),
            contrast=rng.uniform(*self.contrast_range) if coins[1] else 1.,
            saturation=rng.uniform(*self.saturation_range) if coins[2] else 1.,
            hue=rng.uniform(-self.hue_delta, self.hue_delta) if coins[3] else 0.,
            channels=rng.permutation(3) if coins[4] and self.swap_channels else slice(None))


@TRANSFORMS.register_module()
class RandomGrayscale(mmcv_transforms.RandomGrayscale):
    """mmcv's RandomGrayscale, drawing from the sample's generator."""

    @shared_draw
    def _random_prob(self) -> float:
        return float(sample_rng().random())
