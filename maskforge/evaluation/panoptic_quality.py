"""Panoptic quality (Kirillov et al., CVPR 2019, section 4), by the official rules for crowd regions and void."""
from dataclasses import dataclass

import numpy as np

#: a prediction that lies in void or in crowd of its class by more than this part of its area is no false positive
TOLERATED = 0.5
MATCHED_IOU = 0.5


@dataclass(frozen=True)
class PanopticCounts:
    """Sums over images, K classes each.

    Attributes:
        iou: (K,) float64 sum of the matched pairs' IoU.
        true_positives, false_positives, false_negatives: (K,) int64.
    """

    iou: np.ndarray
    true_positives: np.ndarray
    false_positives: np.ndarray
    false_negatives: np.ndarray

    def __add__(self, other: 'PanopticCounts') -> 'PanopticCounts':
        return PanopticCounts(self.iou + other.iou, self.true_positives + other.true_positives,
                              self.false_positives + other.false_positives,
                              self.false_negatives + other.false_negatives)

    @classmethod
    def zero(cls, num_classes: int) -> 'PanopticCounts':
        """Nothing seen yet."""
        return cls(np.zeros(num_classes), *(np.zeros(num_classes, np.int64) for _ in range(3)))


def count_segments(truth: np.ndarray, truth_labels: np.ndarray, crowd: np.ndarray, predicted: np.ndarray,
                   predicted_labels: np.ndarray, *, num_classes: int) -> PanopticCounts:
    """Match the segments of one image.

    A pair of the same class with an IoU over 0.5 is a match; there is at most one per segment. Void pixels of the
    truth do not count in a prediction's area. Crowd segments match nothing and are not missed; a segment of the truth
    without a pixel is.

    Args:
        truth, predicted: (H, W) int; 0 is void, k the k-th segment from 1.
        truth_labels, predicted_labels: (N,) and (M,) class indices in [0, ``num_classes``).
        crowd: (N,) bool.

    Raises:
        ValueError: maps of different sizes.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f'the prediction is {predicted.shape[1]} x {predicted.shape[0]} pixels, the truth '
                         f'{truth.shape[1]} x {truth.shape[0]}.')
    overlap = _overlaps(truth, predicted, len(truth_labels), len(predicted_labels))
    areas = overlap.sum(0)[1:]
    inside = overlap[1:, 1:]
    union = overlap[1:].sum(1)[:, None] + (areas - overlap[0, 1:])[None] - inside
    iou = inside / np.maximum(union, 1)
    pairs = (iou > MATCHED_IOU) & ~crowd[:, None] & (truth_labels[:, None] == predicted_labels[None])
    hits, hit_columns = np.nonzero(pairs)

    def per_class(labels: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(labels, weights, minlength=num_classes)

    missed = ~crowd
    missed[hits] = False
    wrong = (areas > 0) & (_tolerated_area(overlap, truth_labels, crowd, predicted_labels) <= TOLERATED * areas)
    wrong[hit_columns] = False
    return PanopticCounts(per_class(truth_labels[hits], iou[hits, hit_columns]), per_class(truth_labels[hits]),
                          per_class(predicted_labels[wrong]), per_class(truth_labels[missed]))


def summarize_quality(counts: PanopticCounts, selected: np.ndarray) -> dict[str, float]:
    """PQ, SQ and RQ in [0, 1]: means over the ``selected`` classes ((K,) bool) that occur in truth or prediction.

    All are 0 where none occurs, and ``n`` says how many do.
    """
    per_class = class_quality(counts)
    occurs = selected & (per_class['n'] > 0)
    number = int(occurs.sum())
    means = {name: float(per_class[name][occurs].mean()) if number else 0.0 for name in ('PQ', 'SQ', 'RQ')}
    return {**means, 'n': number}


def class_quality(counts: PanopticCounts) -> dict[str, np.ndarray]:
    """(K,) PQ, SQ and RQ of every class, and ``n``, how many segments it had in truth or prediction."""
    half_errors = 0.5 * (counts.false_positives + counts.false_negatives)
    weight = np.maximum(counts.true_positives + half_errors, 0.5)
    matches = np.maximum(counts.true_positives, 1)
    return dict(PQ=counts.iou / weight, SQ=counts.iou / matches, RQ=counts.true_positives / weight,
                n=counts.true_positives + counts.false_positives + counts.false_negatives)


def _overlaps(truth: np.ndarray, predicted: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """(N + 1, M + 1) pixels in common; row and column 0 are void."""
    codes = truth.astype(np.int64).ravel() * (columns + 1) + predicted.ravel()
    return np.bincount(codes, minlength=(rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)


def _tolerated_area(overlap: np.ndarray, truth_labels: np.ndarray, crowd: np.ndarray,
                    predicted_labels: np.ndarray) -> np.ndarray:
    """(M,) pixels of each prediction in void and in crowd of its own class.

    The official evaluation keeps one crowd segment a class, the last of the image's list: so does this.
    """
    area = overlap[0, 1:].copy()
    last = {int(label): row for row, label in enumerate(truth_labels.tolist()) if crowd[row]}
    for column, label in enumerate(predicted_labels.tolist()):
        if label in last:
            area[column] += overlap[1 + last[label], 1 + column]
    return area
