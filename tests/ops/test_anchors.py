import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator as Theirs
from torchvision.models.detection.image_list import ImageList

from maskforge import ops

STRIDES = [4, 8, 16]
SHAPES = [(16, 24), (8, 12), (4, 6)]


def test_order_and_centres():
    first = ops.AnchorGenerator([4], [0.5, 1.0, 2.0], [8]).grid_priors([(2, 2)])[0]
    assert len(first) == 12
    centres = (first[:, :2] + first[:, 2:]) / 2
    assert centres[::3].tolist() == [[0, 0], [4, 0], [0, 4], [4, 4]]
    sides = first[:3, 2:] - first[:3, :2]
    torch.testing.assert_close(sides[:, 1] / sides[:, 0], torch.tensor([0.5, 1.0, 2.0]))
    torch.testing.assert_close(sides.prod(dim=1), torch.full((3,), 32.0**2))


def test_rounded_anchors_equal_torchvisions():
    ours = ops.AnchorGenerator(STRIDES, [0.5, 1.0, 2.0], [8], round_anchors=True).grid_priors(SHAPES)
    theirs = Theirs(((32,), (64,), (128,)), ((0.5, 1.0, 2.0),) * 3)
    images = ImageList(torch.zeros(1, 3, 64, 96), [(64, 96)])
    torch.testing.assert_close(torch.cat(ours), theirs(images, [torch.zeros(1, 1, *s) for s in SHAPES])[0])


def test_scale_order_offset_and_octaves():
    minor = ops.base_anchors(10, [1, 2], [1.0, 4.0], scale_major=False)
    assert (minor[:, 2] - minor[:, 0]).tolist() == [10, 5, 20, 10]
    major = ops.base_anchors(10, [1, 2], [1.0, 4.0])
    assert (major[:, 2] - major[:, 0]).tolist() == [10, 20, 5, 10]
    shifted = ops.AnchorGenerator([8], [1.0], [1], center_offset=0.5)
    assert shifted.grid_priors([(1, 1)])[0].tolist() == [[0, 0, 8, 8]]
    octaves = ops.AnchorGenerator([8], [1.0], octave_base_scale=4, scales_per_octave=3)
    assert octaves.num_base_priors == [3]


def test_cells_that_only_a_larger_image_has_are_not_valid():
    anchors = ops.AnchorGenerator([4], [1.0, 2.0], [8])
    flags = anchors.valid_flags([(4, 4)], (8, 16)).reshape(4, 4, 2)
    assert flags[:2].all() and not flags[2:].any()


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(strides=[4], ratios=[1.0]), 'either scales, or octave_base_scale'),
    (dict(strides=[4], ratios=[1.0], scales=[8], base_sizes=[4, 8]), '2 base_sizes for 1 strides')])
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ops.AnchorGenerator(**arguments)


def test_a_wrong_number_of_levels_names_both_settings():
    with pytest.raises(ValueError, match=r'3 strides, but there are 1 feature levels.*neck.num_outs'):
        ops.AnchorGenerator(STRIDES, [1.0], [8]).grid_priors([(4, 4)])


def test_the_cache_stays_bounded():
    anchors = ops.AnchorGenerator([4], [1.0], [8])
    for size in range(1, 60):
        anchors.grid_priors([(size, size)])
    assert len(anchors._grids) <= 16
