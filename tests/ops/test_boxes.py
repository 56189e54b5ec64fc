import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from maskforge import ops


@st.composite
def boxes(draw, count=4):
    values = draw(st.lists(st.floats(0, 100, width=16), min_size=4 * count, max_size=4 * count))
    corners = torch.tensor(values).reshape(count, 2, 2)
    return torch.cat((corners.min(dim=1).values, corners.max(dim=1).values + 0.5), dim=1)


@given(boxes(), boxes())
@settings(max_examples=30, deadline=None)
def test_overlaps_equal_torchvisions(first, second):
    torch.testing.assert_close(ops.box_iou(first, second), torchvision.ops.box_iou(first, second))
    torch.testing.assert_close(ops.generalized_box_iou(first, second),
                               torchvision.ops.generalized_box_iou(first, second))


@given(boxes())
@settings(max_examples=30, deadline=None)
def test_flipping_twice_and_changing_form_and_back_change_nothing(given_boxes):
    for direction in ('horizontal', 'vertical', 'diagonal'):
        twice = ops.flip_boxes(ops.flip_boxes(given_boxes, (90, 110), direction), (90, 110), direction)
        torch.testing.assert_close(twice, given_boxes, atol=1e-4, rtol=0)
    torch.testing.assert_close(ops.cxcywh_to_xyxy(ops.xyxy_to_cxcywh(given_boxes)), given_boxes, atol=1e-4, rtol=0)


@pytest.mark.parametrize(('direction', 'expected'), [
    ('horizontal', [70, 10, 90, 40]), ('vertical', [10, 10, 30, 40]), ('diagonal', [70, 10, 90, 40])])
def test_flip_mirrors_in_the_image(direction, expected):
    assert ops.flip_boxes(torch.tensor([[10., 10, 30, 40]]), (50, 100), direction).tolist() == [expected]


def test_flip_names_an_unknown_direction():
    with pytest.raises(ValueError, match="direction='up' is not one of horizontal, vertical, diagonal"):
        ops.flip_boxes(torch.zeros(1, 4), (5, 5), 'up')


def test_empty_boxes_overlap_nothing():
    empty = torch.tensor([[5., 5, 5, 5]])
    assert ops.box_iou(empty, empty).item() == 0
    assert ops.box_iof(empty, torch.tensor([[0., 0, 9, 9]])).item() == 0


def test_iof_is_the_share_of_the_first_box():
    assert ops.box_iof(torch.tensor([[0., 0, 10, 10]]), torch.tensor([[5., 0, 100, 100]])).item() == pytest.approx(0.5)


def test_clip_scale_and_size():
    clipped = ops.clip_boxes(torch.tensor([[-5., 3, 200, 60]]), (50, 100))
    assert clipped.tolist() == [[0, 3, 100, 50]]
    assert ops.scale_boxes(clipped, (2, 0.5)).tolist() == [[0, 1.5, 200, 25]]
    assert ops.larger_than(torch.tensor([[0., 0, 3, 3], [0, 0, 2, 3]]), 2).tolist() == [True, False]
