"""Colour distortion keeps type and size, and each change does what it says."""
import numpy as np
import pytest

from maskforge.datasets.transforms import PhotoMetricDistortion, RandomGrayscale
from maskforge.structures import seeded_sample

IMAGE = np.random.default_rng(0).integers(60, 180, (12, 15, 3), dtype=np.uint8)
NOTHING = dict(brightness=0., contrast_first=True, contrast=1., saturation=1., hue=0., channels=slice(None))


def distorted(**changes) -> np.ndarray:
    transform = PhotoMetricDistortion()
    transform._draw = lambda: {**NOTHING, **changes}
    return transform(dict(img=IMAGE.copy()))['img']


@pytest.mark.parametrize('changes, expected, within', [
    ({}, IMAGE, 0), (dict(brightness=20.), IMAGE + 20, 0), (dict(brightness=-255.), IMAGE * 0, 0),
    (dict(contrast=0.5), IMAGE / 2, 0.5), (dict(contrast=1.2, brightness=10.), (IMAGE + 10) * 1.2, 0.5),
    (dict(contrast=1.2, contrast_first=False), IMAGE * 1.2, 0.5),
    (dict(channels=np.array([2, 1, 0])), IMAGE[..., ::-1], 0),
    (dict(saturation=0.), np.repeat(IMAGE.max(-1, keepdims=True), 3, -1), 1), (dict(hue=360.), IMAGE, 1),
    (dict(hue=120.), IMAGE[..., [1, 2, 0]], 1)])
def test_each_change(changes, expected, within):
    got = distorted(**changes)
    assert got.dtype == np.uint8
    assert np.abs(got.astype(float) - np.clip(expected, 0, 255)).max() <= within


def test_draws_stay_in_range():
    transform = PhotoMetricDistortion()
    for seed in range(50):
        with seeded_sample(seed):
            drawn = transform._draw()
        assert abs(drawn['brightness']) <= 32 and abs(drawn['hue']) <= 18
        assert 0.5 <= drawn['contrast'] <= 1.5 and 0.5 <= drawn['saturation'] <= 1.5
    floats = PhotoMetricDistortion()(dict(img=IMAGE.astype(np.float32)))['img']
    assert floats.dtype == np.float32


def test_channels_stay_where_told():
    for seed in range(20):
        with seeded_sample(seed):
            assert PhotoMetricDistortion(swap_channels=False)._draw()['channels'] == slice(None)


def test_grayscale():
    with seeded_sample(0):
        img = RandomGrayscale(prob=1., keep_channels=True)(dict(img=IMAGE.copy()))['img']
    assert (img[..., 0] == img[..., 2]).all()
