import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mean_field_formula import by_the_formula

from maskforge.ops.mean_field import box_profile, half_window, mean_field


def crop(seed, side=9):
    """A bright blob on a dark ground with noise, an uncertain start, and a box with soft borders."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 0.05, (3, side, side))
    image[:, side // 3:, side // 4:-side // 4] += 1.0
    unary = np.clip(rng.normal(0.35, 0.2, (side, side)), 0, 1)
    unary[side // 3:, side // 4:-side // 4] += 0.35
    box = np.zeros((side, side))
    box[2:, 1:-1] = 1
    box[1, 1:-1] = 0.5
    return image, np.clip(unary, 0, 1), box


def tensors(seeds, **kwargs):
    return tuple(torch.tensor(np.stack(part), dtype=torch.float32) for part in zip(*(crop(s, **kwargs) for s in seeds)))


@pytest.mark.parametrize('options', [
    dict(num_iter=1), dict(num_iter=10), dict(num_iter=4, kernel_size=5), dict(num_iter=3, zeta=0.5, low=0.2, high=0.7),
    dict(num_iter=3, dilation=2), dict(num_iter=0), dict(num_iter=5, kernel_size=1)])
def test_exact_form_equals_the_formula(options):
    image, unary, box = tensors([1, 2])
    found = mean_field(image, unary, box, form='exact', **options)
    for index, seed in enumerate((1, 2)):
        state = by_the_formula(*crop(seed), **options)
        sure = np.abs(state - 0.5) > 1e-4
        np.testing.assert_array_equal(found[index].numpy()[sure], (state > 0.5)[sure])
    assert 0 < found.float().mean() < 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([3, 5]))
def test_logit_form_is_the_exact_form_within_a_thousandth(seed, kernel_size):
    image, unary, box = tensors(range(seed, seed + 4), side=32)
    exact, logit = (mean_field(image, unary, box, form=form, num_iter=40, kernel_size=kernel_size)
                    for form in ('exact', 'logit'))
    assert (exact != logit).float().mean() <= 0.001


def test_the_mask_follows_the_colours():
    image, unary, box = tensors([3], side=24)
    found = mean_field(image, unary, box)[0]
    blob = torch.zeros(24, 24, dtype=torch.bool)
    blob[8:, 6:-6] = True
    common, either = (found & blob).sum(), (found | blob).sum()
    assert common / either > 0.9 > ((unary[0] > 0.5) & blob).sum() / ((unary[0] > 0.5) | blob).sum()


def test_nothing_outside_the_box_and_no_gradient():
    image, unary, box = tensors([3])
    found = mean_field(image.requires_grad_(), unary, box)
    assert not found[box == 0].any() and not found.requires_grad


def test_half_windows_cover_a_window_once():
    for size, dilation in ((3, 1), (5, 1), (3, 2)):
        half = half_window(size, dilation)
        assert len(half) == (size**2 - 1) // 2 == len(set(half))
        assert not set(half) & {(-down, -right) for down, right in half}


@pytest.mark.parametrize('start, end, crop_size, side', [
    (3, 12, 16, 4), (0, 16, 16, 4), (5.5, 9.2, 16, 8), (2, 2, 8, 8), (-3, 40, 16, 5)])
def test_profile_is_the_resized_box_mask(start, end, crop_size, side):
    mask = torch.tensor([[float(start <= x + 0.5 < end) for x in range(crop_size)]] * crop_size)
    resized = torch.nn.functional.interpolate(mask[None, None], size=(side, side), mode='bilinear')[0, 0]
    profile = box_profile(torch.tensor([float(start)]), torch.tensor([float(end)]), crop_size, side)
    torch.testing.assert_close(profile[0], resized[0])


def test_profile_of_a_box_that_comes_again():
    period, start, end = 10.0, -3.0, 2.0
    expected = [float(any(start + k * period <= x + 0.5 < end + k * period for k in range(-3, 4))) for x in range(16)]
    profile = box_profile(torch.tensor([start]), torch.tensor([end]), 16, 16, torch.tensor([period]))
    assert profile[0].tolist() == expected and 0 < sum(expected) < 16


@pytest.mark.parametrize('options, message', [
    (dict(kernel_size=2), 'crf_kernel_size=2 must be odd'), (dict(num_iter=-1), 'crf_num_iter=-1'),
    (dict(zeta=0), 'crf_zeta=0'), (dict(low=0.5, high=0.4), '0 < low < high < 1'),
    (dict(form='soft'), "mean_field='soft' is not one of logit, exact")])
def test_bad_settings(options, message):
    with pytest.raises(ValueError, match=message):
        mean_field(*tensors([1]), **options)


def test_the_fused_kernel_is_of_the_logit_form():
    with pytest.raises(ValueError, match="fused=True is of form='logit' only"):
        mean_field(*tensors([1]), form='exact', fused=True)


@pytest.mark.gpu
@pytest.mark.parametrize('options', [dict(num_iter=100), dict(num_iter=7, kernel_size=5), dict(num_iter=4, dilation=3)])
def test_fused_on_a_gpu(options):
    image, unary, box = (part.cuda() for part in tensors(range(6), side=128))
    fused, loop = (mean_field(image, unary, box, fused=way, **options) for way in (True, False))
    assert (fused != loop).float().mean() < 1e-4
