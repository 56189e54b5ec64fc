"""J and F against the official definition, written out slowly below, and against hand values."""
import cv2
import numpy as np
import pytest

from maskforge.evaluation.region_boundary import (
    boundary_accuracy,
    boundary_map,
    boundary_radius,
    disk,
    region_and_boundary,
    region_similarity,
)
from maskforge.evaluation.sequence_scores import SequenceScores


def outline(mask):
    """Neighbours are shifted copies with background behind the edge; then the rules of the last row and column."""
    padded = np.pad(mask, ((0, 1), (0, 1)))
    east, south, both = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    found = (mask ^ east) | (mask ^ south) | (mask ^ both)
    found[-1] = mask[-1] ^ east[-1]
    found[:, -1] = mask[:, -1] ^ south[:, -1]
    found[-1, -1] = False
    return found


def outline_by_pixels(mask):
    """Outside the frame there is background, but for the rules of the last row and column."""
    height, width = mask.shape
    found = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            east = mask[y, x + 1] if x + 1 < width else False
            south = mask[y + 1, x] if y + 1 < height else False
            both = mask[y + 1, x + 1] if x + 1 < width and y + 1 < height else False
            if y == height - 1 and x == width - 1:
                continue
            if x == width - 1:
                found[y, x] = mask[y, x] != south
            elif y == height - 1:
                found[y, x] = mask[y, x] != east
            else:
                found[y, x] = len({bool(mask[y, x]), bool(east), bool(south), bool(both)}) == 2
    return found


def official_scores(predicted, truth, bound=0.008):
    """The whole frame, every step as the evaluators of DAVIS and SA-V describe it; returns (J, F)."""
    common, both = (predicted & truth).sum(), predicted.sum() + truth.sum()
    region = 1.0 if both == 0 else common / (both - common)
    radius = int(np.ceil(bound * np.linalg.norm(truth.shape)))
    steps = np.mgrid[-radius:radius + 1, -radius:radius + 1]
    footprint = ((steps**2).sum(0) <= radius**2).astype(np.uint8)
    outlines = [outline(mask) for mask in (predicted, truth)]
    grown = [cv2.dilate(one.astype(np.uint8), footprint) > 0 for one in outlines]
    sums = [one.sum() for one in outlines]
    if sums[0] == 0 and sums[1] == 0:
        precision, recall = 1.0, 1.0
    elif sums[0] == 0:
        precision, recall = 1.0, 0.0
    elif sums[1] == 0:
        precision, recall = 0.0, 1.0
    else:
        precision, recall = (outlines[0] & grown[1]).sum() / sums[0], (outlines[1] & grown[0]).sum() / sums[1]
    return region, 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def official_sequence(predicted, truth, bound=0.008):
    """Maps of ids of all frames that count -> id -> (mean J, mean F)."""
    seen, true, values = set(), set(), {}
    for ids, other in zip(predicted, truth):
        here = set(np.unique(other).tolist()) - {0}
        true |= here
        seen |= here | (set(np.unique(ids).tolist()) - {0})
        for number in seen:
            values.setdefault(number, []).append(official_scores(ids == number, other == number, bound))
    return {number: np.mean(values[number], axis=0) for number in true}


def random_ids(rng, size):
    """Discs, noise, a full frame or nothing, of up to three objects."""
    ids = np.zeros(size, np.uint8)
    for number in rng.permutation([1, 2, 3]):
        kind = rng.integers(0, 7)
        if kind == 0:
            ids[rng.random(size) < 0.2] = number
        elif kind == 1 and rng.random() < 0.2:
            ids[:] = number
        elif kind > 2:
            centre = int(rng.integers(-2, size[1] + 2)), int(rng.integers(-2, size[0] + 2))
            cv2.circle(ids, centre, int(rng.integers(0, 8)), int(number), -1)
    return ids


def test_thousand_sequences_equal_the_definition():
    rng = np.random.default_rng(0)
    for _ in range(1000):
        size = tuple(rng.integers(1, 17, 2).tolist())
        bound = float(rng.choice([0.008, 0.1, 0.25]))
        truth = [random_ids(rng, size) for _ in range(3)]
        predicted = [np.roll(ids, rng.integers(-2, 3, 2), (0, 1)) if rng.random() < 0.5 else random_ids(rng, size)
                     for ids in truth]
        scores = SequenceScores(bound=bound)
        for pair in zip(predicted, truth):
            scores.add_ids(*pair)
        expected = official_sequence(predicted, truth, bound)
        assert {number: pytest.approx((one.j, one.f), abs=1e-12) for number, one in scores.scores().items()} == expected


def box(x0, y0, x1, y1, size=(480, 854)):
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


EMPTY, ONE, FULL = box(0, 0, 0, 0), box(200, 100, 400, 200), box(0, 0, 854, 480)


@pytest.mark.parametrize(('predicted', 'truth', 'region', 'boundary'), [
    (box(210, 100, 410, 200), ONE, 0.904762, 0.69),
    (ONE, ONE, 1, 1),
    (EMPTY, EMPTY, 1, 1),
    (ONE, EMPTY, 0, 0),
    (EMPTY, ONE, 0, 0),
    (box(600, 100, 700, 200), ONE, 0, 0),
    (FULL, FULL, 1, 1),
    (FULL, EMPTY, 0, 1),  # a mask that covers the frame has no outline
    (FULL, ONE, 20000 / 409920, 0),
    (box(208, 100, 408, 200), ONE, 192 / 208, 1),  # the tolerance is 8 pixels
])
def test_hand_values(predicted, truth, region, boundary):
    assert region_and_boundary(predicted, truth) == pytest.approx((region, boundary), abs=5e-7)
    assert region_similarity(predicted.astype(np.uint8), truth) == pytest.approx(region, abs=5e-7)
    assert boundary_accuracy(predicted, truth.astype(np.uint8) * 255) == pytest.approx(boundary, abs=5e-7)


@pytest.mark.parametrize(('size', 'bound', 'radius'), [
    ((480, 854), 0.008, 8), ((1080, 1920), 0.008, 18), ((1, 1), 0.008, 1), ((480, 854), 0.02, 20)])
def test_radius(size, bound, radius):
    assert boundary_radius(*size, bound=bound) == radius


@pytest.mark.parametrize(('radius', 'ones'), [(0, 1), (1, 5), (2, 13), (3, 29), (8, 197)])
def test_disk(radius, ones):
    assert disk(radius).shape == (2 * radius + 1,) * 2
    assert disk(radius).sum() == ones  # points of the circle problem of Gauss


@pytest.mark.parametrize('radius', [1, 8, 18, 40])
def test_every_way_of_counting_gives_the_same(radius, monkeypatch):
    """Single pixels looked at one by one, and the whole cut-out dilated."""
    rng = np.random.default_rng(radius)
    truth = cv2.GaussianBlur(rng.random((150, 200)), (0, 0), 9) > 0.5
    predicted = np.roll(truth, (radius, radius // 2), (0, 1))
    found = []
    for lookups in (0, 1e9):
        monkeypatch.setattr('maskforge.evaluation.region_boundary._LOOKUPS_PER_PIXEL', lookups)
        found.append(region_and_boundary(predicted, truth, radius=radius))
    assert found[0] == found[1]
    assert 0 < found[0][1] <= 1


def test_outline_lies_up_and_left():
    assert boundary_map(box(2, 2, 4, 4, (5, 6))).astype(int).tolist() == [
        [0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0], [0, 1, 0, 1, 0, 0], [0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]]


def test_outline_of_random_masks():
    rng = np.random.default_rng(3)
    for _ in range(60):
        mask = random_ids(rng, tuple(rng.integers(1, 20, 2).tolist())) > 0
        assert (boundary_map(mask) == outline_by_pixels(mask)).all()
        assert (outline(mask) == outline_by_pixels(mask)).all()


def test_sizes_must_agree():
    with pytest.raises(ValueError, match='the predicted mask is 3 x 2 pixels, the true one 4 x 2'):
        region_and_boundary(np.zeros((2, 3), bool), np.zeros((2, 4), bool))


def test_objects_count_from_their_first_frame():
    """Object 2 is predicted before it is true, object 3 is never true, object 1 leaves."""
    scores = SequenceScores()
    one, two = box(2, 2, 9, 9, (20, 20)), box(12, 12, 18, 18, (20, 20))
    nothing = np.zeros((20, 20), bool)
    for predicted, truth in [({}, {}), ({1: one, 2: two}, {1: one}), ({1: nothing, 3: two}, {1: one}),
                             ({}, {2: two}), ({2: two}, {2: two})]:
        scores.add(predicted, truth, size=(20, 20))
    found = scores.scores()
    assert list(found) == [1, 2]
    assert found[1] == (pytest.approx(3 / 4), pytest.approx(3 / 4), 4)
    assert found[2] == (pytest.approx(2 / 4), pytest.approx(2 / 4), 4)
    assert found[1].jf == pytest.approx(0.75)
