import torch

from maskforge.layers import SingleRoIExtractor
from maskforge.ops import roi_align
from maskforge.registry import MODELS

STRIDES = [4, 8, 16, 32]


def extractor() -> SingleRoIExtractor:
    return MODELS.build(dict(type='SingleRoIExtractor', out_channels=2, featmap_strides=STRIDES,
                             roi_layer=dict(type='RoIAlign', output_size=3, sampling_ratio=0)))


def test_level_by_size():
    sides = torch.tensor([1.0, 111, 112, 223, 224, 447, 448, 2000])
    rois = torch.stack((sides * 0, sides * 0, sides * 0, sides, sides), dim=1)
    assert extractor().map_roi_levels(rois).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_each_region_comes_from_its_level():
    levels = [torch.rand(2, 2, 512 // s, 512 // s) for s in STRIDES]
    rois = torch.tensor([[1., 10, 10, 60, 70], [0, 0, 0, 500, 500], [0, 5, 5, 205, 230]])
    got = extractor()(levels, rois)
    for row, level in enumerate([0, 3, 1]):
        want = roi_align(levels[level], rois[row:row + 1], output_size=3, spatial_scale=1 / STRIDES[level])
        torch.testing.assert_close(got[row:row + 1], want)


def test_every_level_gets_a_gradient_even_without_regions():
    levels = [torch.rand(1, 2, 64 // s, 64 // s, requires_grad=True) for s in STRIDES]
    extractor()(levels, torch.zeros(0, 5)).sum().backward()
    assert all(level.grad is not None for level in levels)
