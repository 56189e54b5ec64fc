"""Bins by area, at their edges."""
import pytest

from maskforge.models.mal.size_bins import LARGE, MEDIUM, SMALL, check_thresholds, feature_bin, threshold_of


@pytest.mark.parametrize(('area', 'half_open', 'reference'), [
    (0, SMALL, None), (1, SMALL, SMALL), (1023.9, SMALL, SMALL), (1024, MEDIUM, None), (1024.1, MEDIUM, MEDIUM),
    (9215, MEDIUM, MEDIUM), (9216, LARGE, None), (9217, LARGE, LARGE), (1e10, LARGE, None),
])
def test_feature_bins(area, half_open, reference):
    assert feature_bin(area) == half_open
    assert feature_bin(area, 'open') == reference


@pytest.mark.parametrize(('area', 'half_open', 'reference'), [
    (1000, 0.1, 0.1), (1024, 0.2, 0.1), (9216, 0.3, 0.2), (9217, 0.3, 0.3), (2e10, 0.3, 0.3),
])
def test_thresholds(area, half_open, reference):
    assert threshold_of(area, (0.1, 0.2, 0.3)) == half_open
    assert threshold_of(area, (0.1, 0.2, 0.3), 'open') == reference
    assert threshold_of(area, (0.4,)) == 0.4


@pytest.mark.parametrize('values', [(), (0.1, 0.2), (1.0,), (-0.1,)])
def test_bad_thresholds(values):
    with pytest.raises(ValueError, match=r'mask_thres must hold one threshold, or three'):
        check_thresholds(values)
