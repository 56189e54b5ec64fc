import warnings

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from maskforge.structures import DetDataSample, InstanceMasks
from maskforge.visualization import draw_instances

SQUARE = [[20, 20, 50, 20, 50, 50, 20, 50]]


def instances(boxes=((20, 20, 50, 50),), labels=(0,), scores=None, masks=None, size=(100, 120)):
    found = InstanceData(bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), labels=torch.tensor(labels))
    if scores is not None:
        found.scores = torch.tensor(scores)
    if masks is not None:
        found.masks = InstanceMasks(masks, *size)
    return found


@pytest.fixture
def image():
    return np.full((100, 120, 3), 90, np.uint8)


def changed(image, drawn):
    return (image != drawn).any(axis=2)


def test_mask_is_blended_in_the_colour_of_its_class(image):
    drawn = draw_instances(image, instances(masks=[SQUARE]), ['a'], [(200, 100, 0)], alpha=0.5, show_labels=False)
    # RGB palette, BGR picture
    assert drawn[35, 35].tolist() == [45, 95, 145]
    assert not changed(image, drawn)[60:].any()
    assert (image == 90).all()


def test_alpha_zero_draws_outlines_only(image):
    drawn = draw_instances(image, instances(masks=[SQUARE]), alpha=0.0, show_labels=False)
    assert not changed(image, drawn)[25:45, 25:45].any()
    assert changed(image, drawn)[20, 25:45].all()


def test_polygons_and_rles_look_the_same(image):
    polygons = InstanceMasks([SQUARE], 100, 120)
    first = instances(masks=[SQUARE])
    second = instances(masks=polygons.to_rles())
    third = InstanceData(bboxes=first.bboxes, labels=first.labels, masks=polygons.to_tensor())
    drawn = [draw_instances(image, one) for one in (first, second, third)]
    assert (drawn[0] == drawn[1]).all() and (drawn[0] == drawn[2]).all()


def test_score_threshold(image):
    two = instances([(5, 60, 20, 80), (70, 60, 100, 80)], (0, 0), scores=(0.9, 0.2))
    drawn = changed(image, draw_instances(image, two, score_thr=0.5, show_labels=False))
    assert drawn[:, :40].any() and not drawn[:, 60:].any()


@pytest.mark.parametrize('settings', [dict(color_by='instance'), dict(text_color=(1, 2, 3)), dict(line_width=5),
                                      dict(font_size=20), dict(alpha=0.9), dict(mask_palette=(9, 9, 9)),
                                      dict(palette=(9, 9, 9)), dict(show_labels=False)])
def test_every_setting_shows(image, settings):
    two = instances([(20, 20, 50, 50), (60, 30, 100, 80)], (0, 0), masks=[SQUARE, [[60, 30, 100, 30, 100, 80]]])
    assert changed(draw_instances(image, two, ['thing']), draw_instances(image, two, ['thing'], **settings)).any()


def test_small_pictures_are_enlarged(image):
    drawn = draw_instances(image, instances(masks=[SQUARE]), min_side=250, show_labels=False)
    assert drawn.shape == (300, 360, 3)
    assert changed(np.full_like(drawn, 90), drawn)[105, 105]
    assert draw_instances(image, instances(), min_side=50).shape == image.shape


@pytest.mark.parametrize('classes', [None, ['猫'], ['a' * 300], [''], []])
@pytest.mark.parametrize('size', [(100, 120), (8, 8), (3000, 20)])
def test_any_name_on_any_size(classes, size):
    """Names without a font, names wider than the picture, labels without a name."""
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        drawn = draw_instances(np.zeros((*size, 3), np.uint8), instances([(1, 1, 6, 6), (-5, -5, 900, 4000)], (0, 3),
                                                                         scores=(1.0, 0.5)), classes)
    assert drawn.shape == (*size, 3)


def test_labels_do_not_cover_each_other(image):
    boxes = [(20, 40, 60, 80), (22, 42, 62, 82), (24, 44, 64, 84)]
    big = np.zeros((300, 400, 3), np.uint8)
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    drawn = draw_instances(big, instances(boxes, (0, 1, 2)), ['aa', 'bb', 'cc'], colors)
    grounds = [(drawn == color[::-1]).all(axis=2).sum() for color in colors]
    # each label's ground is whole: about as large as that of a label alone
    alone = (draw_instances(big, instances(boxes[:1]), ['aa'], colors) == (0, 0, 255)).all(axis=2).sum()
    assert min(grounds) > 0.6 * alone


@pytest.mark.parametrize('masks', [None, []])
def test_nothing_to_draw(image, masks):
    empty = instances([], torch.zeros(0, dtype=torch.long).tolist(), masks=masks)
    empty.labels = empty.labels.long()
    assert (draw_instances(image, empty) == image).all()


def test_empty_mask(image):
    assert draw_instances(image, instances(masks=[[]]), show_labels=False).shape == image.shape


def test_samples(image):
    sample = DetDataSample()
    sample.gt_instances = instances([(5, 5, 20, 20)])
    sample.ignored_instances = instances([(60, 60, 90, 90)])
    drawn = draw_instances(image, sample, show_labels=False)
    assert drawn[60, 75].tolist() == [150, 150, 150] and changed(image, drawn)[5, 10]
    sample.pred_instances = instances([(30, 30, 50, 50)], scores=(0.9,))
    drawn = changed(image, draw_instances(image, sample, show_labels=False))
    assert drawn[30, 40] and not drawn[5, 10]


def test_grey_pictures():
    assert draw_instances(np.zeros((40, 50), np.uint8), instances()).shape == (40, 50, 3)


@pytest.mark.parametrize(('picture', 'found', 'settings', 'text'), [
    (np.zeros((10, 10, 3), np.float32), instances(), {}, 'must be uint8'),
    (np.zeros((10, 10, 4), np.uint8), instances(), {}, 'must be uint8 of shape'),
    (np.zeros((10, 10, 3), np.uint8), instances(masks=[SQUARE]), {}, r'masks of size \(100, 120\) do not fit'),
    (np.zeros((10, 10, 3), np.uint8), instances(), dict(color_by='size'), "'class', 'instance'"),
])
def test_errors(picture, found, settings, text):
    with pytest.raises(ValueError, match=text):
        draw_instances(picture, found, **settings)
