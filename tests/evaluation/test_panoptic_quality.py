import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskforge.evaluation.panoptic_quality import PanopticCounts, class_quality, count_segments, summarize_quality

CLASSES = 4


def official_definition(truth, labels, crowd, predicted, predicted_labels):
    """Sums per class by the published rules, pixel set by pixel set: {class: [iou, tp, fp, fn]}."""
    sums = {label: [0.0, 0, 0, 0] for label in range(CLASSES)}
    truths = {k + 1: set(np.flatnonzero(truth == k + 1)) for k in range(len(labels))}
    found = {k + 1: set(np.flatnonzero(predicted == k + 1)) for k in range(len(predicted_labels))}
    void = set(np.flatnonzero(truth == 0))
    matched_truths, matched_found = set(), set()
    for t, pixels in truths.items():
        for p, guess in found.items():
            if crowd[t - 1] or labels[t - 1] != predicted_labels[p - 1] or not guess or not pixels:
                continue
            common = len(pixels & guess)
            union = len(pixels) + len(guess) - common - len(guess & void)
            if common / union > 0.5:
                matched_truths.add(t)
                matched_found.add(p)
                sums[labels[t - 1]][0] += common / union
                sums[labels[t - 1]][1] += 1
    for t in truths:
        if t not in matched_truths and not crowd[t - 1]:
            sums[labels[t - 1]][3] += 1
    for p, guess in found.items():
        if p in matched_found or not guess:
            continue
        same_crowd = [t for t in truths if crowd[t - 1] and labels[t - 1] == predicted_labels[p - 1]]
        excused = len(guess & void) + (len(guess & truths[same_crowd[-1]]) if same_crowd else 0)
        if excused / len(guess) <= 0.5:
            sums[predicted_labels[p - 1]][2] += 1
    return sums


def random_map(rng, count, side=12):
    """Rectangles of ids 0 .. count over one another."""
    found = rng.integers(0, count + 1, 1) * np.ones((side, side), np.int64)
    for identity in rng.permutation(count + 1):
        y, x = rng.integers(0, side, 2)
        found[y:y + rng.integers(2, side), x:x + rng.integers(2, side)] = identity
    return found


def random_case(seed):
    rng = np.random.default_rng(seed)
    number = int(rng.integers(0, 7))
    truth = random_map(rng, number)
    labels, crowd = rng.integers(0, CLASSES, number), rng.random(number) < 0.25
    if rng.random() < 0.7 and number:
        # a prediction like the truth, with errors, or matches would be rare
        predicted, predicted_labels = np.roll(truth, rng.integers(0, 2), 1), labels.copy()
        predicted[rng.random(predicted.shape) < 0.1] = 0
        predicted_labels[rng.random(number) < 0.2] = rng.integers(0, CLASSES)
    else:
        count = int(rng.integers(0, 7))
        predicted, predicted_labels = random_map(rng, count), rng.integers(0, CLASSES, count)
    return truth, labels, crowd, predicted, predicted_labels


def test_equals_the_official_definition_in_500_random_cases():
    total = PanopticCounts.zero(CLASSES)
    expected = {label: np.zeros(4) for label in range(CLASSES)}
    for seed in range(500):
        case = random_case(seed)
        counts = count_segments(*case, num_classes=CLASSES)
        sums = official_definition(*case)
        for label in range(CLASSES):
            one = [counts.iou[label], counts.true_positives[label], counts.false_positives[label],
                   counts.false_negatives[label]]
            assert one == pytest.approx(sums[label], abs=1e-12), (seed, label)
            expected[label] += sums[label]
        total += counts
    matches = sum(sums[1] for sums in expected.values())
    assert matches > 300 and total.false_positives.sum() > 100 and total.false_negatives.sum() > 100
    quality = [iou / (tp + fp / 2 + fn / 2) for iou, tp, fp, fn in expected.values()]
    assert summarize_quality(total, np.ones(CLASSES, bool))['PQ'] == pytest.approx(np.mean(quality))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_perfect_predictions_score_one(seed):
    truth, labels, _, _, _ = random_case(seed)
    present = np.unique(truth[truth > 0])
    if not len(present):
        return
    truth = np.searchsorted(present, truth) * (truth > 0) + (truth > 0)
    labels = labels[present - 1]
    counts = count_segments(truth, labels, np.zeros(len(labels), bool), truth, labels, num_classes=CLASSES)
    found = summarize_quality(counts, np.ones(CLASSES, bool))
    assert (found['PQ'], found['SQ'], found['RQ'], found['n']) == (1, 1, 1, len(set(labels)))


def test_pq_is_sq_times_rq_per_class():
    counts = sum((count_segments(*random_case(seed), num_classes=CLASSES) for seed in range(30)),
                 PanopticCounts.zero(CLASSES))
    quality = class_quality(counts)
    np.testing.assert_allclose(quality['PQ'], quality['SQ'] * quality['RQ'])


def strip(*runs):
    """One row of pixels from (value, length) pairs."""
    return np.concatenate([np.full(length, value) for value, length in runs])[None]


@pytest.mark.parametrize('truth, labels, crowd, predicted, expected', [
    # (iou, tp, fp, fn) of the only class
    (strip((1, 10)), [0], [False], strip((1, 6), (0, 4)), (0.6, 1, 0, 0)),
    (strip((1, 10)), [0], [False], strip((1, 5), (0, 5)), (0, 0, 1, 1)),  # exactly one half is no match
    (strip((1, 6), (0, 4)), [0], [False], strip((1, 10)), (1, 1, 0, 0)),  # void is not held against the prediction
    (strip((0, 10)), [], [], strip((1, 10)), (0, 0, 0, 0)),  # wholly in void
    (strip((0, 5), (1, 5)), [0], [False], strip((1, 4), (0, 6)), (0, 0, 0, 1)),
    (strip((1, 10)), [0], [True], strip((1, 10)), (0, 0, 0, 0)),  # crowd: neither matched nor missed
    (strip((1, 10)), [0], [True], strip((0, 10)), (0, 0, 0, 0)),
    (strip((2, 10)), [0, 0], [False, False], strip((1, 10)), (1, 1, 0, 1)),  # a listed segment without a pixel
])
def test_rules(truth, labels, crowd, predicted, expected):
    counts = count_segments(truth, np.array(labels, np.int64), np.array(crowd, bool), predicted, np.zeros(1, np.int64),
                            num_classes=1)
    assert (counts.iou[0], counts.true_positives[0], counts.false_positives[0],
            counts.false_negatives[0]) == pytest.approx(expected)


def test_nothing_scores_zero_and_sizes_must_agree():
    assert summarize_quality(PanopticCounts.zero(3), np.ones(3, bool)) == dict(PQ=0, SQ=0, RQ=0, n=0)
    with pytest.raises(ValueError, match='prediction is 3 x 2 pixels, the truth 2 x 2'):
        count_segments(np.zeros((2, 2), int), np.zeros(0, int), np.zeros(0, bool), np.zeros((2, 3), int),
                       np.zeros(0, int), num_classes=1)
