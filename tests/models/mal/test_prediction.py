"""Which logits make the masks, and what a sample gets."""
import numpy as np
import pytest
import torch

from maskforge.models.mal.postprocess import box_fill, fill_plausibility
from maskforge.models.mal.prediction import PredictionSettings, add_predictions, quality

CROP, SIDE = 64, 16


def logits_of(mask):
    return torch.where(torch.as_tensor(mask), 8.0, -8.0)[None]


def half(columns):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[:, columns] = True
    return logits_of(mask)


LEFT, RIGHT, ALL = half(slice(0, 8)), half(slice(8, None)), half(slice(None))


def predict(sample, student, teacher, **options):
    sample = sample() if callable(sample) else sample
    add_predictions([sample], student, teacher, CROP, PredictionSettings(**{'mask_thres': (0.5,), **options}))
    return sample.pred_instances


def test_fields(sample):
    found = predict(sample, LEFT, ALL)
    # the crop is columns 2 to 58, the box 10 to 50: the left half of the crop ends at 30
    mask = found.masks.to_bitmaps()[0]
    expected = np.zeros((80, 100), bool)
    expected[20:60, 10:30] = True
    assert (mask == expected).all()
    assert len(found) == 1 and found.bboxes.tolist() == [[10, 20, 50, 60]] and found.labels.tolist() == [1]
    assert found.box_agreement.item() == pytest.approx(0.5)
    # cells of 3.5 pixels in columns: of the box's 12 columns of cells 6 are the student's
    assert found.teacher_agreement.item() == pytest.approx(0.5, abs=0.05)
    assert found.box_fill.item() == pytest.approx(0.5)
    assert found.scores.item() == pytest.approx((found.teacher_agreement.item() * 0.5) ** (1 / 3))
    assert found.scores.shape == (1,) and found.masks.segmentations[0]['size'] == [80, 100]


@pytest.mark.parametrize(('options', 'columns'), [
    ({}, (10, 30)),
    (dict(use_teacher_test=True), (30, 50)),
    (dict(use_mixed_model_test=True, mask_thres=(0.4,)), (10, 50)),
    (dict(use_mixed_model_test=True, use_teacher_test=True, mask_thres=(0.4,)), (10, 50)),
])
def test_student_teacher_or_both(sample, options, columns):
    found = predict(sample, LEFT, RIGHT, **options)
    mask = found.masks.to_bitmaps()[0]
    xs = np.flatnonzero(mask.any(0))
    assert (xs[0], xs[-1] + 1) == columns


@pytest.mark.parametrize(('area', 'pixels'), [(500.0, 1600), (5000.0, 1600), (20000.0, 0)])
def test_threshold_by_size(sample, area, pixels):
    flat = torch.zeros(1, SIDE, SIDE)  # probability 0.5
    found = predict(sample(area), flat, flat, mask_thres=(0.1, 0.4, 0.6))
    assert found.masks.areas().tolist() == [pixels]
    assert (found.scores.item() == 0) == (pixels == 0)


def test_clip_on_the_crop_leaves_a_rim(sample):
    """Where the crop is shrunk, the box's edge is smeared over neighbouring pixels before the low threshold."""
    box = sample(box=(10.5, 20.5, 49.5, 59.5))
    inside = predict(box, ALL, ALL, mask_thres=(0.1,))
    rim = predict(box, ALL, ALL, mask_thres=(0.1,), clip='crop')
    assert inside.masks.areas().item() == 39 * 39
    assert rim.masks.areas().item() > inside.masks.areas().item()


@pytest.mark.parametrize(('trust', 'fit', 'fill', 'expected'), [
    (1.0, 1.0, 0.5, 1.0), (1.0, 1.0, 0.2, 1.0), (1.0, 1.0, 0.85, 1.0),
    (1.0, 1.0, 1.0, 0.5),  # the box itself, however sure both networks are
    (1.0, 1.0, 0.925, 0.5625 ** (1 / 3)), (1.0, 1.0, 0.1, 0.5 ** (1 / 3)), (1.0, 1.0, 0.0, 0.0),
    (0.9, 0.8, 0.6, 0.72 ** (1 / 3)), (0.9, 0.8, 1.0, 0.09 ** (1 / 3)), (0.0, 1.0, 0.5, 0.0), (1.0, 0.0, 0.5, 0.0),
])
def test_quality(trust, fit, fill, expected):
    assert quality(trust, fit, fill) == pytest.approx(expected)


def test_fill_stays_between_0_and_1_without_jumps():
    values = [fill_plausibility(step / 1000) for step in range(1001)]
    assert min(values) == 0 and max(values) == 1
    assert np.abs(np.diff(values)).max() < 0.01


@pytest.mark.parametrize(('area', 'window', 'fill'), [
    (6, (1, 2, 4, 6), 0.5), (12, (1, 2, 4, 6), 1.0), (20, (1, 2, 4, 6), 1.0), (0, (1, 2, 4, 6), 0.0),
    (0, (4, 2, 4, 6), 0.0)])
def test_fill_of_a_box(area, window, fill):
    assert box_fill(area, window) == fill


def test_a_mask_that_is_its_box_ranks_below_half_of_it_done_well(sample):
    """An object with a plain outline, 60 % of the box and up to its edges, against the whole box."""
    shape = torch.full((SIDE, SIDE), -8.0)
    shape[:, 2:6], shape[9:, :] = 8.0, 8.0  # an L that touches all four edges
    whole, plain = predict(sample, ALL, ALL), predict(sample, shape[None], shape[None])
    assert whole.box_agreement.item() == whole.teacher_agreement.item() == whole.box_fill.item() == 1
    assert whole.scores.item() == pytest.approx(0.5) and plain.scores.item() > 0.9
    assert plain.box_fill.item() == pytest.approx(plain.masks.areas().item() / 1600)


@pytest.mark.parametrize('clip', ['image', 'crop'])
def test_fill_is_of_the_part_of_the_box_in_the_image(sample, clip):
    corner = sample(box=(70.0, 50.0, 110.0, 90.0), crop_box=(58, 38, 122, 102))
    assert predict(corner, ALL, ALL, clip=clip).box_fill.item() == pytest.approx(1)


def test_empty_mask(sample):
    found = predict(sample, -ALL, -ALL)
    assert found.masks.areas().item() == 0 and found.scores.item() == 0 and found.box_agreement.item() == 0


def test_box_at_the_images_corner(sample):
    found = predict(sample(box=(70.0, 50.0, 110.0, 90.0), crop_box=(58, 38, 122, 102)), ALL, ALL)
    mask = found.masks.to_bitmaps()[0]
    assert mask[50:, 70:].all() and mask.sum() == 30 * 30
    assert found.box_agreement.item() == pytest.approx(1)
