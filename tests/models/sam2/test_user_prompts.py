import numpy as np
import pytest
import torch

from maskforge.models.sam2.input_scaling import InputScaling, bgr_tensor
from maskforge.models.sam2.user_prompts import UserPrompts

SIZE = (100, 200)  # of the original; the input is 64 x 32


@pytest.fixture(scope='module')
def reader():
    return UserPrompts(InputScaling((64, 32)), (16, 8), torch.device('cpu'))


def test_coordinates_are_scaled_per_axis_and_a_box_comes_first(reader):
    prompts, has_axis = reader.read(SIZE, point_coords=[[100, 50]], point_labels=[0], box=[0, 0, 200, 100])
    assert prompts.points.tolist() == [[[0, 0], [32, 64], [16, 32]]] and prompts.labels.tolist() == [[2, 3, 0]]
    assert prompts.masks is None and not has_axis


@pytest.mark.parametrize('given, shapes', [
    (dict(point_coords=np.ones((3, 2, 2)), point_labels=np.array([[1, 0], [1, -1], [1, 1]])), ((3, 2, 2), None)),
    (dict(box=np.tile([1, 2, 3, 4], (5, 1))), ((5, 2, 2), None)),
    (dict(mask_input=torch.zeros(4, 1, 16, 8)), (None, (4, 1, 16, 8))),
    (dict(box=torch.tensor([[1., 2, 3, 4]]), mask_input=np.zeros((1, 1, 16, 8))), ((1, 2, 2), (1, 1, 16, 8))),
])
def test_many_objects(reader, given, shapes):
    prompts, has_axis = reader.read(SIZE, **given)
    assert has_axis and tuple(None if part is None else tuple(part.shape)
                              for part in (prompts.points, prompts.masks)) == shapes


def test_a_coordinate_a_little_outside_moves_to_the_border_and_padding_may_be_anywhere(reader):
    prompts, _ = reader.read(SIZE, point_coords=[[200.4, -0.2], [1e6, -3]], point_labels=[1, -1])
    assert prompts.points.tolist() == [[[32, 0], [0, 0]]]


@pytest.mark.parametrize('given, message', [
    (dict(), 'nothing to segment: give point_coords'),
    (dict(point_coords=[[1, 2]]), 'point_coords is given without point_labels'),
    (dict(point_labels=[1]), 'point_labels is given without point_coords'),
    (dict(point_coords=[1, 2], point_labels=[1]), r'point_coords must be \(points, 2\).*got \(2,\)'),
    (dict(point_coords=np.zeros((0, 2)), point_labels=np.zeros(0)), r'got \(0, 2\)'),
    (dict(point_coords=[[1, 2]], point_labels=[1, 0]), r'point_labels must be \(1,\).*got \(2,\)'),
    (dict(point_coords=[[1, 2]], point_labels=[2]), 'point_labels has 2; allowed are 1'),
    (dict(point_coords=[[1, 2], [201, 5]], point_labels=[1, 1]),
     r'\(201, 5\) is outside.*200 pixels wide and 100 high'),
    (dict(box=[1, 2, 3]), r'box must be \(4,\).*got \(3,\)'),
    (dict(box=[5, 2, 3, 9]), r'box \[5.0, 2.0, 3.0, 9.0\] has no extent'),
    (dict(box=[[1, 1, 2, 2], [150, 50, 260, 90]]), r'box of object 1: \(260, 90\) is outside'),
    (dict(mask_input=np.zeros((1, 8, 16))), r'\(1, 16, 8\).*got \(1, 8, 16\)'),
    (dict(box=[[1, 1, 2, 2]], point_coords=np.ones((2, 1, 2)), point_labels=np.ones((2, 1), int)),
     '2 in point_coords, 1 in box'),
])
def test_bad_prompts_are_named(reader, given, message):
    with pytest.raises(ValueError, match=message):
        reader.read(SIZE, **given)


@pytest.mark.parametrize('image', [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_image_is_refused(image):
    with pytest.raises(ValueError, match=r'photo: an image is an array \(H, W, 3\) of uint8'):
        bgr_tensor(image, source='photo')


def test_images_become_rgb_and_normalised():
    image = np.zeros((8, 6, 3), np.uint8)
    image[..., 2] = 255  # red
    scaling = InputScaling((32, 64), mean=(55., 0., 10.), std=(100., 1., 5.))
    found = scaling.images(bgr_tensor(image)[None], torch.device('cpu'))
    assert found.shape == (1, 3, 32, 64)
    assert found[0, :, 3, 3].tolist() == pytest.approx([2., 0., -2.])
    same = scaling.images(bgr_tensor(image[..., ::-1], channels='rgb')[None], torch.device('cpu'))
    assert torch.equal(found, same)
    with pytest.raises(ValueError, match="channels='hsv'"):
        bgr_tensor(image, channels='hsv')
