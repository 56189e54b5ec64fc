import pytest
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


@pytest.mark.parametrize('side', [8.0, 300.0])
@pytest.mark.filterwarnings('ignore')
def test_exported_file_takes_regions_of_one_level_only(side, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    layer = MODELS.build(dict(type='SingleRoIExtractor', out_channels=2, featmap_strides=[4, 8],
                              roi_layer=dict(type='RoIAlign', output_size=3, sampling_ratio=2)))

    class Export(torch.nn.Module):
        def forward(self, fine, coarse, rois):
            return layer([fine, coarse], rois)

    levels = [torch.rand(1, 2, 100, 100), torch.rand(1, 2, 50, 50)]
    example = torch.tensor([[0.0, 0, 0, 20, 20], [0.0, 0, 0, 200, 200]])
    path = tmp_path / 'x.onnx'
    torch.onnx.export(Export(), (*levels, example), path, opset_version=17, input_names=['fine', 'coarse', 'rois'],
                      dynamic_axes=dict(rois={0: 'n'}), dynamo=False)
    rois = torch.tensor([[0.0, 5, 5, 5 + side, 5 + side]] * 3)
    given = dict(zip(('fine', 'coarse', 'rois'), (tensor.numpy() for tensor in (*levels, rois))))
    got = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider']).run(None, given)[0]
    torch.testing.assert_close(torch.from_numpy(got), layer(levels, rois), atol=1e-5, rtol=1e-5)
