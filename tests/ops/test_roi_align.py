import pytest
import torch
import torchvision

from maskforge import ops

ROIS = torch.tensor([[0., 4, 4, 40, 30], [1, 0, 0, 10, 60]])


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_computes_in_float32_whatever_comes_in(aligned, dtype):
    features = torch.rand(2, 3, 16, 16).to(dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        got = ops.roi_align(features, ROIS, output_size=7, spatial_scale=0.25, aligned=aligned)
    want = torchvision.ops.roi_align(features.float(), ROIS, 7, 0.25, -1, aligned)
    assert got.dtype == torch.float32
    assert torch.equal(got, want)


def test_no_regions_keep_the_graph():
    features = torch.rand(1, 3, 8, 8, requires_grad=True)
    pooled = ops.roi_align(features, torch.zeros(0, 5), output_size=7, spatial_scale=0.25)
    pooled.sum().backward()
    assert pooled.shape == (0, 3, 7, 7)
    assert features.grad.abs().sum() == 0
