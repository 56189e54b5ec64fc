"""Objects of video frames: one colour an object, contours, ids, clicks."""
import numpy as np
import pytest

from maskforge.formats import rle
from maskforge.formats.palette_png import davis_palette
from maskforge.visualization import distinct_color, draw_objects, draw_video, object_color

SIZE = (60, 80)
GREY = np.full((*SIZE, 3), 128, np.uint8)


def box(x, y, side=20):
    mask = np.zeros(SIZE, bool)
    mask[y:y + side, x:x + side] = True
    return mask


def plain(masks, image=GREY, **looks):
    return draw_objects(image, masks, **{'contours': False, 'show_ids': False, **looks})


def test_masks_are_filled_with_the_colour_of_their_object():
    """Arrays and RLEs, absent and empty objects; the image itself stays as it is."""
    drawn = plain({1: box(5, 5), 4: rle.encode(box(50, 30)), 2: None, 3: np.zeros(SIZE, bool)}, alpha=1.0)
    expected = GREY.copy()
    expected[box(5, 5)] = distinct_color(1)[::-1]
    expected[box(50, 30)] = distinct_color(4)[::-1]
    assert (drawn == expected).all() and (GREY == 128).all()


@pytest.mark.parametrize(('alpha', 'value'), [(0.0, 128), (0.5, 114), (1.0, 100)])
def test_opacity(alpha, value):
    assert (plain({0: box(5, 5)}, alpha=alpha, palette=[(100, 100, 100)])[10, 10] == value).all()


@pytest.mark.parametrize(('number', 'palette', 'color'), [
    (3, None, distinct_color(3)), (1, 'davis', (128, 0, 0)), (256 + 1, 'davis', (128, 0, 0)),
    (2, [(1, 2, 3), (4, 5, 6)], (1, 2, 3)), (5, davis_palette(), (128, 0, 128))])
def test_colours(number, palette, color):
    assert object_color(number, palette) == color
    assert tuple(plain({number: box(5, 5)}, alpha=1.0, palette=palette)[10, 10][::-1].tolist()) == color


def test_contours():
    drawn = draw_objects(GREY, {0: box(5, 5)}, alpha=0.0, show_ids=False, line_width=1, palette=[(255, 0, 0)])
    changed = (drawn != 128).any(-1)
    assert changed[5, 5:25].all() and changed[5:25, 24].all()
    assert not changed[8:22, 8:22].any() and not changed[:, 30:].any()
    thick = draw_objects(GREY, {0: box(5, 5)}, alpha=0.0, show_ids=False, line_width=3, palette=[(255, 0, 0)])
    assert (thick != 128).any(-1).sum() > changed.sum()


def test_ids():
    drawn = draw_objects(GREY, {7: box(5, 5, 40), 8: np.zeros(SIZE, bool)}, alpha=0.0, contours=False)
    changed = np.argwhere((drawn != 128).any(-1))
    assert len(changed) and abs(changed.mean(0) - 25).max() < 6
    large = draw_objects(GREY, {7: box(5, 5, 40)}, alpha=0.0, contours=False, font_size=20)
    assert (large != 128).sum() > (drawn != 128).sum()


def test_clicks():
    drawn = plain({}, points={1: [(20, 10, 1), (60.2, 40.4, 0)]})
    green, red = drawn[10, 20].astype(int), drawn[40, 60].astype(int)
    assert green[1] > green[2] + 50 and red[2] > red[1] + 50
    assert (drawn[25, 40] == 128).all()


def test_small_frames_are_enlarged():
    drawn = plain({0: box(5, 5)}, alpha=1.0, palette=[(1, 2, 3)], min_side=120)
    assert drawn.shape == (120, 160, 3)
    assert (drawn[10:50, 10:50] == (3, 2, 1)).all() and (drawn[55:, 55:] != (3, 2, 1)).all()


def test_video():
    masks = {1: [box(0, 0), None, box(20, 20)], 2: [None, rle.encode(box(30, 30)), None]}
    looks = dict(contours=False, show_ids=False, alpha=1.0)
    frames = list(draw_video([GREY] * 3, masks, **looks))
    assert [(frame != 128).any(-1).sum() for frame in frames] == [400, 400, 400]
    assert (frames[1] == draw_objects(GREY, {2: box(30, 30)}, **looks)).all()


@pytest.mark.parametrize(('image', 'masks', 'looks', 'message'), [
    (GREY, {3: np.ones((5, 5), bool)}, {}, r'the mask of object 3 has the size \(5, 5\), the frame \(60, 80\)'),
    (GREY / 255, {}, {}, 'the image must be uint8'),
    (GREY, {1: box(0, 0)}, dict(palette='voc'), "palette='voc' is not known"),
])
def test_what_cannot_be_drawn(image, masks, looks, message):
    with pytest.raises(ValueError, match=message):
        draw_objects(image, masks, **looks)
