"""The click of a simulated user who corrects the worst first (Sofiiuk et al. 2021, section 4)."""
import cv2
import numpy as np
from jaxtyping import Bool

from maskforge.models.sam2.user_prompts import NEGATIVE, POSITIVE


def center_click(truth: Bool[np.ndarray, 'H W'],
                 predicted: Bool[np.ndarray, 'H W'] | None = None) -> tuple[float, float, int]:
    """Return x, y (pixels) and label of the pixel deepest inside of what is wrong.

    That is the pixel farthest from the border of what is missing or of what is too much, whichever reaches deeper;
    the image's border counts. Where nothing is wrong, the first pixel, as background.

    Args:
        predicted: nothing where it is None.
    """
    predicted = np.zeros_like(truth) if predicted is None else predicted
    missing, surplus = (_depth(wrong) for wrong in (truth & ~predicted, predicted & ~truth))
    is_missing = missing.max() > surplus.max()
    place = int((missing if is_missing else surplus).argmax())
    y, x = divmod(place, truth.shape[1])
    return float(x), float(y), POSITIVE if is_missing else NEGATIVE


def _depth(bitmap: np.ndarray) -> np.ndarray:
    padded = np.pad(bitmap.astype(np.uint8), 1)
    return cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
