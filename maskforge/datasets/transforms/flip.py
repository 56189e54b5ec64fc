"""Mirroring image and truth."""
from collections.abc import Sequence

import cv2
from mmcv import transforms as mmcv_transforms

from maskforge.registry import TRANSFORMS
from maskforge.structures import sample_rng

from .ground_truth import Number
from .shared_draw import shared_draw

CV2_CODES = {'horizontal': 1, 'vertical': 0, 'diagonal': -1}


@TRANSFORMS.register_module()
class RandomFlip(mmcv_transforms.RandomFlip):
    """Mirror image, boxes, masks and segmentation map with some probability; sets ``flip``, ``flip_direction``.

    Args:
        prob: probability of a flip, shared evenly by the directions; or one per direction.
        direction: 'horizontal', 'vertical', 'diagonal', or a list of them.
        swap_seg_labels: pairs of classes of the segmentation map that change places (left arm, right arm).
    """

    def __init__(self, prob: Number | Sequence[Number], direction: str | Sequence[str] = 'horizontal',
                 swap_seg_labels: Sequence | None = None):
        prob = [float(value) for value in prob] if isinstance(prob, Sequence) else float(prob)
        super().__init__(prob, direction if isinstance(direction, str) else list(direction), swap_seg_labels)

    @shared_draw
    def _choose_direction(self) -> str | None:
        directions = [self.direction] if isinstance(self.direction, str) else self.direction
        shares = self.prob if isinstance(self.prob, list) else [self.prob / len(directions)] * len(directions)
        drawn = sample_rng().random()
        for direction, share in zip(directions, shares):
            if drawn < share:
                return direction
            drawn -= share
        return None

    def _flip(self, results: dict) -> None:
        img = results['img']
        super()._flip(results)
        # mmcv leaves a mirrored view, which the next step would copy thirty times as slowly as cv2 flips
        results['img'] = cv2.flip(img, CV2_CODES[results['flip_direction']]).reshape(img.shape)
        if results.get('gt_masks') is not None:
            results['gt_masks'] = results['gt_masks'].flip(results['flip_direction'])
