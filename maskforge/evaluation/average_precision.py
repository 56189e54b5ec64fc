"""Average precision by the rules of Pascal VOC (Everingham et al., IJCV 2010, section 4.2), on plain arrays."""
import numpy as np

MODES = ('area', '11points')


def box_ious(first: np.ndarray, second: np.ndarray, *, extent: float = 0.0) -> np.ndarray:
    """IoU of (N, 4) and (M, 4) xyxy boxes -> (N, M) float64.

    Args:
        extent: added to widths and heights; 1 for the VOC devkit's inclusive pixel coordinates.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    corners = np.minimum(first[:, None, 2:], second[None, :, 2:]) - np.maximum(first[:, None, :2], second[None, :, :2])
    shared = np.clip(corners + extent, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2] + extent).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def match_image(ious: np.ndarray, ignored: np.ndarray, iou_thr: float) -> np.ndarray:
    """Judge one image's detections of one class.

    Each detection goes to the truth that it overlaps most; the first one there is right, later ones are wrong.

    Args:
        ious: (D, G), detections by falling score.
        ignored: (G,) bool; a detection of an ignored truth counts neither way.
        iou_thr: least IoU of a match, inclusive.

    Returns:
        (D,) int64: 1 right, 0 wrong, -1 does not count.
    """
    verdicts = np.zeros(len(ious), np.int64)
    if ious.shape[1] == 0:
        return verdicts
    taken = np.zeros(ious.shape[1], bool)
    best = ious.argmax(axis=1)
    for detection, truth in enumerate(best):
        if ious[detection, truth] < iou_thr:
            continue
        if ignored[truth]:
            verdicts[detection] = -1
        elif not taken[truth]:
            verdicts[detection], taken[truth] = 1, True
    return verdicts


def average_precision(scores: np.ndarray, verdicts: np.ndarray, positives: int, *, mode: str = 'area') -> float:
    """AP in [0, 1] of one class, or -1 where it has no truth.

    Args:
        scores: (D,) of all images' detections.
        verdicts: (D,) as of :func:`match_image`.
        positives: number of truths that are not ignored.
        mode: ``'area'`` under the interpolated curve (VOC 2010 on), or ``'11points'`` of recall (VOC 2007).
    """
    if mode not in MODES:
        raise ValueError(f'mode={mode!r} is not one of {", ".join(MODES)}.')
    if positives == 0:
        return -1.0
    counted = verdicts >= 0
    right = verdicts[counted][np.argsort(-scores[counted], kind='stable')]
    hits = np.cumsum(right)
    recall, precision = hits / positives, hits / np.arange(1, len(hits) + 1)
    # interpolated precision: the best precision at this recall or a higher one
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if mode == 'area':
        return float((np.diff(recall, prepend=0.0) * envelope).sum())
    starts = np.searchsorted(recall, np.linspace(0, 1, 11) - 1e-12)
    return float(np.append(envelope, 0.0)[starts].mean())
