"""Small holes of masks are filled, small islands taken away (8-connected, on the CPU by cv2).

Legend: H W pixels.
"""
import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

CONNECTIVITY = 8


def small_regions(bitmap: Bool[np.ndarray, 'H W'], *, max_area: int | float) -> Bool[np.ndarray, 'H W']:
    """Return the pixels of ``bitmap`` that belong to connected regions of at most ``max_area`` pixels."""
    if not bitmap.any():
        return np.zeros_like(bitmap)
    _, regions, statistics, _ = cv2.connectedComponentsWithStats(bitmap.astype(np.uint8), connectivity=CONNECTIVITY)
    small = statistics[:, cv2.CC_STAT_AREA] <= max_area
    small[0] = False  # what is not in the bitmap
    return small[regions]


def tidy_masks(logits: Float[Tensor, '*lead H W'], *, max_hole_area: int | float = 0,
               max_sprinkle_area: int | float = 0, mask_threshold: float | int = 0.,
               margin: float | int = 10.) -> Float[Tensor, '*lead H W']:
    """Return logits in which small holes are inside and small islands outside.

    Args:
        logits: a pixel is inside above ``mask_threshold``.
        max_hole_area: holes of at most so many pixels are filled; 0 leaves all.
        max_sprinkle_area: islands of at most so many pixels are removed; 0 leaves all. Holes and islands are those of
            the mask that was given.
        margin: changed pixels lie by so much above or below the threshold.
    """
    if max_hole_area <= 0 and max_sprinkle_area <= 0:
        return logits
    flat = logits.flatten(0, -3) if logits.ndim > 2 else logits[None]
    inside = (flat > mask_threshold).cpu().numpy()
    tidied = flat.clone()
    for row, bitmap in zip(tidied, inside):
        for pixels, area, value in ((~bitmap, max_hole_area, margin), (bitmap, max_sprinkle_area, -margin)):
            if area > 0:
                row[torch.from_numpy(small_regions(pixels, max_area=area)).to(row.device)] = mask_threshold + value
    return tidied.view(logits.shape)


def remove_small_regions(bitmap: Bool[np.ndarray, 'H W'], *, max_area: int | float) -> tuple[np.ndarray, bool]:
    """Return the mask without holes and islands of less than ``max_area`` pixels, and whether it changed.

    Of a mask of nothing but islands the largest stays.
    """
    below = np.nextafter(max_area, -np.inf)
    filled = bitmap | small_regions(~bitmap, max_area=below)
    islands = small_regions(filled, max_area=below)
    kept = filled & ~islands
    if filled.any() and not kept.any():
        _, regions, statistics, _ = cv2.connectedComponentsWithStats(filled.astype(np.uint8), connectivity=CONNECTIVITY)
        kept = regions == 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    return kept, bool((kept != bitmap).any())
