import numpy as np
import pytest
import torch
from mean_field_formula import by_the_formula

from maskforge.models.mal import MALCriterion

CROP, SIDE = 32, 8


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(2, SIDE, SIDE, generator=generator) for _ in range(2))
    image = torch.randn(2, 3, CROP, CROP, generator=generator)
    return student, teacher, image, torch.tensor([[4., 8., 24., 28.], [0., 0., 32., 32.]])


def dice(p, t):
    return 1 - 2 * (p * t).sum() / ((p**2).sum() + (t**2).sum() + 2e-3)


def independent(student, teacher, image, boxes):
    """Both losses at full weight in float64, with the box as pixels and the mean field written out."""
    s, t = (1 / (1 + np.exp(-x.double().numpy())) for x in (student, teacher))
    mil, crf = 0.0, []
    for k in range(len(s)):
        x0, y0, x1, y1 = boxes[k].tolist()
        mask = np.array([[float(x0 <= x + .5 < x1 and y0 <= y + .5 < y1) for x in range(CROP)] for y in range(CROP)])
        step = CROP // SIDE
        middle = slice(step // 2 - 1, step // 2 + 1)
        small = mask.reshape(SIDE, step, SIDE, step)[:, middle][:, :, :, middle].mean((1, 3))
        colours = image[k].double().numpy().reshape(3, SIDE, step, SIDE, step)[:, :, middle][..., middle].mean((2, 4))
        mil += dice(s[k].max(1), small.max(1)) + dice(s[k].max(0), small.max(0))
        state = by_the_formula(colours, (s[k] + t[k]) / 2, small, num_iter=3, zeta=0.5)
        crf.append(dice(s[k], (state > 0.5).astype(float)))
    return mil / (len(s) + 1e-4) * 4, np.mean(crf) * 0.5


def test_losses_equal_an_independent_computation(batch):
    criterion = MALCriterion(crf_num_iter=3, crf_zeta=0.5, mean_field='exact')
    found = criterion(*batch, CROP, step=10**6)
    mil, crf = independent(*batch)
    assert found['loss_mil'].item() == pytest.approx(mil, abs=1e-5)
    assert found['loss_crf'].item() == pytest.approx(crf, abs=1e-5)


@pytest.mark.parametrize('step, mil, crf', [(0, 0, 0), (500, 0.5, 0.125), (1000, 1, 0.25), (9000, 1, 1)])
def test_warm_ups(batch, step, mil, crf):
    criterion = MALCriterion(crf_num_iter=2)
    full, found = criterion(*batch, CROP, step=10**6), criterion(*batch, CROP, step=step)
    assert found['loss_mil'].item() == pytest.approx(mil * full['loss_mil'].item())
    assert found['loss_crf'].item() == pytest.approx(crf * full['loss_crf'].item())


def test_wrapped_boxes_change_the_target(batch):
    criterion = MALCriterion(crf_num_iter=2)
    plain, same, wrapped = (criterion(*batch, CROP, step=10**6, box_periods=periods)['loss_mil'].item() for periods in (
        None, torch.full((2, 2), 100.), torch.full((2, 2), 22.)))
    assert plain == pytest.approx(same) and wrapped != pytest.approx(plain)


def test_weights_scale_and_only_the_student_learns(batch):
    student, teacher, *rest = batch
    student.requires_grad_(), teacher.requires_grad_()
    base = MALCriterion(crf_num_iter=2, loss_mil_step=0, loss_crf_step=0)(student, teacher, *rest, CROP, step=0)
    other = MALCriterion(crf_num_iter=2, loss_mil_step=0, loss_crf_step=0, loss_mil_weight=1, loss_crf_weight=2)(
        student, teacher, *rest, CROP, step=0)
    assert other['loss_mil'].item() == pytest.approx(base['loss_mil'].item() / 4)
    assert other['loss_crf'].item() == pytest.approx(base['loss_crf'].item() * 4)
    sum(base.values()).backward()
    assert student.grad.abs().sum() > 0 and teacher.grad is None


@pytest.mark.parametrize('option', [
    dict(crf_kernel_size=5), dict(crf_num_iter=6), dict(crf_zeta=2.), dict(crf_value_low=0.02),
    dict(crf_value_high=0.6)])
def test_settings_of_the_mean_field_change_its_loss_alone(batch, option):
    settings = dict(crf_num_iter=2, crf_zeta=0.8)
    base, other = (MALCriterion(**one)(*batch, CROP, step=10**6) for one in (settings, {**settings, **option}))
    assert base['loss_mil'] == other['loss_mil'] and base['loss_crf'] != other['loss_crf']


@pytest.mark.parametrize('options, message', [
    (dict(crf_kernel_size=4), 'crf_kernel_size=4 must be odd'), (dict(loss_mil_step=-1), 'must not be negative'),
    (dict(mean_field='fast'), 'not one of logit, exact')])
def test_bad_settings(options, message):
    with pytest.raises(ValueError, match=message):
        MALCriterion(**options)
