"""J and F of one object in one frame: overlap of its region, agreement of its outline.

The definitions are those of the DAVIS benchmark (Perazzi et al. 2016, section 4) as its evaluators and SA-V's compute
them, to the last pixel. Both masks are cut to the box around them first, which changes no number: outside it there is
neither mask nor outline.

Legend: H, W pixels of the frame; masks are (H, W) bool or 0/1 uint8 arrays.
"""
import functools
import math

import cv2
import numpy as np

#: tolerance of F as a part of the frame's diagonal
BOUND = 0.008
# from this many look-ups per pixel on, dilating the whole cut-out is quicker than looking around single pixels
_LOOKUPS_PER_PIXEL = 4


def boundary_radius(height: int, width: int, *, bound: float = BOUND) -> int:
    """Return by how many pixels outlines may differ: ``bound`` of the diagonal, rounded up (8 at 480 x 854)."""
    return math.ceil(bound * float(np.hypot(height, width)))


def disk(radius: int) -> np.ndarray:
    """Return a (2 radius + 1)-sided square with ones at all whole offsets that are no longer than ``radius``."""
    steps = np.arange(-radius, radius + 1)
    return (steps[:, None]**2 + steps**2 <= radius**2).astype(np.uint8)


@functools.lru_cache(maxsize=8)
def _offsets(radius: int, inner: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the disk without the square of half side ``inner`` in it."""
    footprint = disk(radius)
    footprint[radius - inner:radius + inner + 1, radius - inner:radius + inner + 1] = 0
    return np.nonzero(footprint)


def boundary_map(mask: np.ndarray) -> np.ndarray:
    """Return the pixels whose neighbour to the right, below, or right below differs in ``mask``.

    In the last row only the right neighbour counts, in the last column only the one below, and the last corner is no
    outline. So a mask that covers the frame has no outline at all.
    """
    mask = np.asarray(mask).astype(bool)
    found = np.zeros_like(mask)
    here = mask[:-1, :-1]
    found[:-1, :-1] = (here ^ mask[:-1, 1:]) | (here ^ mask[1:, :-1]) | (here ^ mask[1:, 1:])
    found[-1, :-1] = mask[-1, :-1] ^ mask[-1, 1:]
    found[:-1, -1] = mask[:-1, -1] ^ mask[1:, -1]
    return found


def region_similarity(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Return J in [0, 1]: pixels in both masks over pixels in either; 1 where both are empty."""
    return region_and_boundary(predicted, truth)[0]


def boundary_accuracy(predicted: np.ndarray, truth: np.ndarray, *, radius: int | None = None) -> float:
    """Return F in [0, 1]: harmonic mean of the parts of each outline that lie near the other one.

    Args:
        predicted, truth: masks of one size.
        radius: pixels that count as near; by default :func:`boundary_radius` of the frame.
    """
    return region_and_boundary(predicted, truth, radius=radius)[1]


def region_and_boundary(predicted: np.ndarray, truth: np.ndarray, *, radius: int | None = None) -> tuple[float, float]:
    """Return (J, F) of one object in one frame; see :func:`region_similarity` and :func:`boundary_accuracy`.

    Raises:
        ValueError: the masks differ in size.
    """
    predicted, truth = _bytes(predicted), _bytes(truth)
    if predicted.shape != truth.shape:
        raise ValueError(f'the predicted mask is {predicted.shape[1]} x {predicted.shape[0]} pixels, the true one '
                         f'{truth.shape[1]} x {truth.shape[0]}.')
    radius = boundary_radius(*truth.shape) if radius is None else radius
    window = joint_window(predicted, truth)
    if window is None:
        return 1.0, 1.0
    predicted, truth = predicted[window], truth[window]
    # uint8 masks may have any value inside, such as 255
    predicted, truth = predicted > 0, truth > 0
    common = np.count_nonzero(predicted & truth)
    either = np.count_nonzero(predicted | truth)
    if common == either:
        return 1.0, 1.0
    return float(common / either), _f_measure(boundary_map(predicted), boundary_map(truth), radius)


def _bytes(mask: np.ndarray) -> np.ndarray:
    mask = np.ascontiguousarray(mask)
    return mask if mask.dtype == np.uint8 else (mask if mask.dtype == bool else mask != 0).view(np.uint8)


def joint_window(first: np.ndarray, second: np.ndarray) -> tuple[slice, slice] | None:
    """Return the rows and columns of the box around what is not 0 in two (H, W) arrays and a margin of one pixel.

    It holds all outlines, and J and F in it are those of the frame. None where both arrays are empty.
    """
    boxes = [cv2.boundingRect(_bytes(mask)) for mask in (first, second)]
    boxes = [(x, y, x + width, y + height) for x, y, width, height in boxes if width and height]
    if not boxes:
        return None
    height, width = first.shape
    left, top = (max(min(box[side] for box in boxes) - 1, 0) for side in (0, 1))
    right, bottom = (min(max(box[side] for box in boxes) + 1, limit) for side, limit in ((2, width), (3, height)))
    return slice(top, bottom), slice(left, right)


def _f_measure(predicted: np.ndarray, truth: np.ndarray, radius: int) -> float:
    number_predicted, number_true = np.count_nonzero(predicted), np.count_nonzero(truth)
    if number_predicted == 0 or number_true == 0:
        # one of precision and recall is 0, unless there is no outline on either side
        return float(number_predicted == number_true)
    precision = _count_near(predicted, truth, radius) / number_predicted
    recall = _count_near(truth, predicted, radius) / number_true
    return 0.0 if precision + recall == 0 else float(2 * precision * recall / (precision + recall))


def _count_near(outline: np.ndarray, other: np.ndarray, radius: int) -> int:
    """Count the pixels of ``outline`` within ``radius`` of a pixel of ``other``.

    Squares are dilated in constant time: what lies in the square inside the disk is near, what lies outside the square
    around it is not, and only what is left is looked at one by one.
    """
    other = other.view(np.uint8)
    inner = math.floor(radius / math.sqrt(2))
    near = outline & _dilate_square(other, inner).view(bool)
    count = int(np.count_nonzero(near))
    open_ = outline & ~near
    if not open_.any():
        return count
    open_ &= _dilate_square(other, radius).view(bool)
    rows, columns = np.nonzero(open_)
    down, across = _offsets(radius, inner)
    if len(rows) * len(down) > _LOOKUPS_PER_PIXEL * other.size:
        return count + int(np.count_nonzero(cv2.dilate(other, disk(radius))[open_]))
    padded = np.pad(other, radius)
    places = (rows * padded.shape[1] + columns)[:, None] + (down * padded.shape[1] + across)
    return count + int(np.count_nonzero(padded.ravel()[places].any(1)))


def _dilate_square(outline: np.ndarray, half: int) -> np.ndarray:
    return cv2.dilate(outline, np.ones((2 * half + 1, 2 * half + 1), np.uint8))
