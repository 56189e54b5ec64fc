import numpy as np
import pytest

from maskforge.structures import PanopticSegmentation
from maskforge.visualization import draw_panoptic, draw_semantic

CLASSES, PALETTE = ('road', 'car'), [(200, 100, 0), (0, 100, 200)]


@pytest.fixture
def image():
    return np.full((100, 120, 3), 90, np.uint8)


def three_segments(scores=(0.9, 0.8, 0.5)) -> PanopticSegmentation:
    """Road at the left, two cars at the right, void at the bottom."""
    segments = np.zeros((100, 120), np.int32)
    segments[:80, :60], segments[:80, 60:90], segments[:80, 90:] = 1, 2, 3
    return PanopticSegmentation(segments, np.array([0, 1, 1]), np.array(scores, np.float32))


def changed(image, drawn):
    return (image != drawn).any(axis=2)


def test_segments_have_the_colours_of_their_classes(image):
    drawn = draw_panoptic(image, three_segments(), CLASSES, PALETTE, alpha=0.5, show_labels=False)
    # RGB palette, BGR picture
    assert drawn[40, 30].tolist() == [45, 95, 145] and drawn[40, 75].tolist() == [145, 95, 45]
    assert not changed(image, drawn)[82:].any()
    assert (image == 90).all()


def test_a_line_tells_segments_of_one_class_apart(image):
    drawn = draw_panoptic(image, three_segments(), CLASSES, PALETTE, alpha=0, show_labels=False)
    assert changed(image, drawn)[10:70, 85:95].any(axis=1).all()
    assert not changed(image, drawn)[10:70, 65:85].any()


def test_names_stand_in_large_segments(image):
    plain = draw_panoptic(image, three_segments(), CLASSES, PALETTE, show_labels=False)
    named = changed(plain, draw_panoptic(image, three_segments(), CLASSES, PALETTE))
    assert named[:80, :60].any()
    assert not named[80:].any()
    assert not changed(plain, draw_panoptic(image, three_segments(), ('', ''), PALETTE)).any()
    assert not changed(plain, draw_panoptic(image, three_segments(), CLASSES, PALETTE, font_size=48)).any()


@pytest.mark.parametrize(('settings', 'columns'), [
    (dict(score_thr=0.6), slice(91, 120)), (dict(only=[0]), slice(62, 120)), (dict(only=[]), slice(0, 120))])
def test_what_is_left_out_is_void(image, settings, columns):
    drawn = draw_panoptic(image, three_segments(), CLASSES, PALETTE, show_labels=False, **settings)
    assert not changed(image, drawn)[:, columns].any()


def test_without_scores_everything_is_drawn(image):
    found = three_segments()
    drawn = draw_panoptic(image, PanopticSegmentation(found.segments, found.labels), score_thr=1.0)
    assert changed(image, drawn)[:78].all()


def test_small_pictures_are_enlarged(image):
    drawn = draw_panoptic(image, three_segments(), CLASSES, PALETTE, min_side=250)
    assert drawn.shape == (300, 360, 3)
    painted = changed(np.full_like(drawn, 90), drawn)
    assert painted[237].all() and not painted[243:].any()


@pytest.mark.parametrize('size', [(1, 1), (3, 400), (8, 8)])
def test_any_size(size):
    found = PanopticSegmentation(np.ones(size, np.int32), np.array([7]))
    assert draw_panoptic(np.zeros(size, np.uint8), found).shape == (*size, 3)


def test_nothing_to_draw(image):
    found = PanopticSegmentation(np.zeros((100, 120), np.int32), np.zeros(0, np.int64), np.zeros(0, np.float32))
    assert (draw_panoptic(image, found) == image).all()


def test_another_size_is_an_error(image):
    with pytest.raises(ValueError, match=r'segments of size \(100, 120\) do not fit an image of size \(50, 60\)'):
        draw_panoptic(image[::2, ::2], three_segments())


@pytest.mark.parametrize('ignored', [255, 2, -1])
def test_a_map_of_classes(image, ignored):
    labels = np.full((100, 120), ignored)
    labels[:50, :60], labels[:50, 60:] = 1, 0
    drawn = draw_semantic(image, labels, CLASSES, PALETTE, alpha=0.5, show_labels=False)
    assert drawn[25, 30].tolist() == [145, 95, 45] and drawn[25, 90].tolist() == [45, 95, 145]
    assert not changed(image, drawn)[52:].any()
    full = draw_semantic(image, np.zeros((100, 120), np.uint8), CLASSES, PALETTE, alpha=1, show_labels=False)
    assert (full == (0, 100, 200)).all()


def test_a_map_without_class_names(image):
    labels = np.full((100, 120), 255)
    labels[:50] = 3
    drawn = draw_semantic(image, labels)
    assert changed(image, drawn)[:49].all() and not changed(image, drawn)[52:].any()
