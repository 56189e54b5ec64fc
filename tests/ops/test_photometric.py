import colorsys

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from maskforge.ops import photometric


@pytest.fixture
def images():
    return torch.from_numpy(np.random.default_rng(0).integers(0, 255, (3, 3, 16, 20)).astype(np.float32))


def pillow(image):
    return Image.fromarray(image.permute(1, 2, 0).byte().numpy())


@pytest.mark.parametrize('change, enhance', [
    (photometric.adjust_brightness, ImageEnhance.Brightness), (photometric.adjust_contrast, ImageEnhance.Contrast),
    (photometric.adjust_saturation, ImageEnhance.Color)])
def test_equals_pillow_within_its_rounding(images, change, enhance):
    factors = torch.tensor([0.6, 1.0, 1.4])
    found = change(images, factors)
    for image, ours, factor in zip(images, found, factors.tolist()):
        theirs = np.asarray(enhance(pillow(image)).enhance(factor)).transpose(2, 0, 1)
        assert np.abs(ours.numpy() - theirs).max() <= 1.5


def test_hue_equals_colorsys(images):
    turns = torch.tensor([-0.1, 0.0, 0.25])
    found = photometric.adjust_hue(images, turns)
    for k, turn in enumerate(turns.tolist()):
        for y, x in ((0, 0), (3, 7), (15, 19)):
            h, s, v = colorsys.rgb_to_hsv(*(images[k, :, y, x] / 255).tolist())
            expected = 255 * np.array(colorsys.hsv_to_rgb((h + turn) % 1, s, v))
            np.testing.assert_allclose(found[k, :, y, x], expected, atol=1e-2)
    torch.testing.assert_close(found[1], images[1], atol=1e-3, rtol=0)


def test_grey_pixels_have_no_hue():
    grey = torch.full((1, 3, 4, 4), 77.0)
    torch.testing.assert_close(photometric.adjust_hue(grey, torch.tensor([0.3])), grey)


def test_blur_spreads_a_point_like_a_gaussian():
    images = torch.zeros(2, 3, 41, 41)
    images[:, :, 20, 20] = 1.0
    found = photometric.gaussian_blur(images, torch.tensor([1.0, 2.0]))
    offsets = torch.arange(41) - 20.0
    for image, sigma in zip(found, (1.0, 2.0)):
        profile = image[0].sum(0)
        assert image.sum().item() == pytest.approx(3, abs=1e-4)
        assert (profile * offsets**2).sum().sqrt().item() == pytest.approx(sigma, rel=0.03)


def test_luma_equals_pillow(images):
    theirs = np.asarray(pillow(images[0]).convert('L'))
    assert np.abs(photometric.to_grey(images)[0, 0].numpy() - theirs).max() <= 1
