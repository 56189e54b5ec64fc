import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import from_numpy
from torchvision.ops import box_iou

from maskforge.evaluation.average_precision import average_precision, box_ious, match_image


def direct_ap(scores, hits, positives, mode):
    """Precision and recall written out point by point."""
    pairs = sorted(zip(scores, hits), key=lambda pair: -pair[0])
    points, right = [], 0
    for count, (_, hit) in enumerate(pairs, start=1):
        right += hit
        points.append((right / positives, right / count))
    if mode == '11points':
        return sum(max((p for r, p in points if r >= t / 10 - 1e-12), default=0.0) for t in range(11)) / 11
    total, reached = 0.0, 0.0
    for recall in sorted({r for r, _ in points}):
        total += (recall - reached) * max(p for r, p in points if r >= recall)
        reached = recall
    return total


@given(st.lists(st.tuples(st.integers(0, 10_000), st.booleans()), max_size=30, unique_by=lambda pair: pair[0]),
       st.integers(0, 5), st.sampled_from(['area', '11points']))
def test_average_precision(detections, missed, mode):
    scores = np.array([score / 10_000 for score, _ in detections])
    hits = np.array([hit for _, hit in detections], np.int64)
    positives = int(hits.sum()) + missed
    expected = direct_ap(scores, hits, positives, mode) if positives else -1.0
    assert average_precision(scores, hits, positives, mode=mode) == pytest.approx(expected)


def test_ignored_detections_do_not_count():
    scores, verdicts = np.array([0.9, 0.8, 0.7]), np.array([1, -1, 1])
    assert average_precision(scores, verdicts, 2) == 1.0


def test_unknown_mode():
    with pytest.raises(ValueError, match='area, 11points'):
        average_precision(np.zeros(0), np.zeros(0), 1, mode='12points')


def test_box_ious():
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 50, (2, 6, 4))
    boxes[..., 2:] += boxes[..., :2]
    expected = box_iou(from_numpy(boxes[0]), from_numpy(boxes[1])).numpy()
    np.testing.assert_allclose(box_ious(boxes[0], boxes[1]), expected)
    assert box_ious(np.array([[0, 0, 9, 9]]), np.array([[0, 0, 9, 4]]), extent=1.0) == pytest.approx(0.5)


@pytest.mark.parametrize(('ious', 'ignored', 'expected'), [
    ([[0.9, 0.1], [0.8, 0.2]], [False, False], [1, 0]),
    ([[0.9, 0.1], [0.8, 0.6]], [False, False], [1, 0]),
    ([[0.5, 0.1], [0.2, 0.6]], [False, False], [1, 1]),
    ([[0.9, 0.1], [0.8, 0.2]], [True, False], [-1, -1]),
    ([[0.4, 0.3]], [False, False], [0]),
    ([[], []], [], [0, 0]),
])
def test_match_image(ious, ignored, expected):
    found = match_image(np.array(ious).reshape(len(ious), len(ignored)), np.array(ignored, bool), 0.5)
    assert found.tolist() == expected
