"""From the frame of the network's input image back to the original image: undo the padding, then the resize."""
from collections.abc import Sequence

import numpy as np

from .instance_masks import InstanceMasks


def boxes_to_original(boxes: np.ndarray, scale_factor: Sequence[float]) -> np.ndarray:
    """Divide (N, 4) xyxy pixels by ``scale_factor`` (x, y); float64, not clipped."""
    return np.asarray(boxes, np.float64).reshape(-1, 4) / np.tile(np.asarray(scale_factor, np.float64), 2)


def masks_to_original(masks: InstanceMasks, ori_shape: Sequence[int], scale_factor: Sequence[float]) -> InstanceMasks:
    """Masks at ``ori_shape`` (height, width), whatever padding was added at the right and at the bottom."""
    height, width = (int(side) for side in ori_shape[:2])
    scale_x, scale_y = scale_factor
    inner_height, inner_width = round(height * scale_y), round(width * scale_x)
    if (masks.height, masks.width) != (inner_height, inner_width):
        masks = masks.crop((0, 0, inner_width, inner_height))
    if (inner_height, inner_width) != (height, width):
        masks = masks.resize((height, width))
    return masks
