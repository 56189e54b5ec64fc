import numpy as np
import pytest

from maskforge.structures import PanopticSegmentation

SEGMENTS = np.array([[0, 1, 1], [2, 2, 3]], np.int32)


@pytest.fixture
def three():
    return PanopticSegmentation(SEGMENTS, np.array([5, 6, 5]), np.array([0.9, 0.8, 0.7], np.float32))


def test_areas_and_masks(three):
    assert len(three) == 3 and three.areas().tolist() == [2, 2, 1]
    np.testing.assert_array_equal(three.masks()[1], SEGMENTS == 2)


def test_select_numbers_anew(three):
    found = three.select([True, False, True])
    assert found.segments.tolist() == [[0, 1, 1], [0, 0, 2]] and found.segments.dtype == np.int32
    assert found.labels.tolist() == [5, 5] and found.scores.tolist() == pytest.approx([0.9, 0.7])
    nothing = PanopticSegmentation(three.segments, three.labels).select(np.zeros(3, bool))
    assert not nothing.segments.any() and len(nothing) == 0 and nothing.scores is None


@pytest.mark.parametrize(('values', 'message'), [
    (dict(segments=SEGMENTS[0], labels=np.zeros(3, int)), r'segments must be \(H, W\)'),
    (dict(segments=SEGMENTS, labels=np.zeros(2, int)), 'values from 0 to 3, but there are 2 labels'),
    (dict(segments=SEGMENTS - 1, labels=np.zeros(2, int)), 'values from -1 to 2'),
    (dict(segments=SEGMENTS, labels=np.zeros(3, int), scores=np.zeros(2)), '3 labels have 2 scores'),
])
def test_contradictions(values, message):
    with pytest.raises(ValueError, match=message):
        PanopticSegmentation(**values)
