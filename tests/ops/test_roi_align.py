import sys

import pytest
import torch
import torchvision

from maskforge import ops
from maskforge.ops.fused_attention import INSTALLED

ROIS = torch.tensor([[0., 4, 4, 40, 30], [1, 0, 0, 10, 60]])


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_computes_in_float32_whatever_comes_in(aligned, dtype):
    features = torch.rand(2, 3, 16, 16).to(dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        got = ops.roi_align(features, ROIS, output_size=7, spatial_scale=0.25, aligned=aligned)
    want = torchvision.ops.roi_align(features.float(), ROIS, 7, 0.25, -1, aligned)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, want, atol=1e-5, rtol=0)


def make_rois(count: int) -> torch.Tensor:
    corner = torch.randn(count, 2) * 60 + 40
    return torch.cat([torch.randint(0, 2, (count, 1)).float(), corner, corner + torch.rand(count, 2) * 150], 1)


def gradients(pooled: torch.Tensor, *features: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad((pooled * pooled.detach().sin()).sum(), features, retain_graph=True)


@pytest.mark.skipif(not INSTALLED['numba'], reason='needs numba')
@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('samples', [0, 2])
def test_loops_equal_torchvision(aligned, samples):
    torch.manual_seed(0)
    features, rois = torch.randn(2, 40, 20, 31, requires_grad=True), make_rois(30)
    assert ops.can_align_levels([features])
    got = ops.roi_align(features, rois, output_size=7, spatial_scale=0.25, sampling_ratio=samples, aligned=aligned)
    want = torchvision.ops.roi_align(features, rois, 7, 0.25, samples or -1, aligned)
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(gradients(got, features), gradients(want, features), atol=1e-4, rtol=1e-4)
    assert got.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.skipif(not INSTALLED['numba'], reason='needs numba')
def test_levels_in_the_order_of_the_regions():
    torch.manual_seed(0)
    features = [torch.randn(2, 40, side, side, requires_grad=True) for side in (24, 12)]
    rois, levels = make_rois(9), torch.tensor([0, 1, 1, 0, 1, 0, 0, 1, 1])
    got = ops.roi_align_levels(features, rois, levels, output_size=3, spatial_scales=[0.25, 0.125])
    want = torch.cat([ops.roi_align(features[level], rois[row:row + 1], output_size=3, spatial_scale=0.25 / (level + 1))
                      for row, level in enumerate(levels.tolist())])
    assert torch.equal(got, want)
    torch.testing.assert_close(gradients(got, *features), gradients(want, *features))
    first, threads = gradients(got, *features), torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        again = ops.roi_align_levels(features, rois, levels, output_size=3, spatial_scales=[0.25, 0.125])
        assert torch.equal(got, again)
        assert all(map(torch.equal, first, gradients(again, *features)))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.skipif(not INSTALLED['numba'], reason='needs numba')
def test_regions_that_are_none():
    features = torch.ones(1, 3, 8, 8)
    odd = torch.tensor([[0., 30, 20, 10, 5], [0, 100, 100, 120, 120], [0, float('nan'), 0, 8, 8]])
    for samples in (0, 2):
        pooled = ops.roi_align(features, odd, output_size=2, spatial_scale=0.25, sampling_ratio=samples)
        assert pooled.isfinite().all() and not pooled[1:].any()


@pytest.mark.skipif(not INSTALLED['numba'], reason='needs numba')
@pytest.mark.parametrize('problem, message', [
    (lambda device: 'differs by 1', 'differs by 1'), (lambda device: 1 // 0, 'ZeroDivisionError')])
def test_loops_that_fail_are_not_used(problem, message, monkeypatch):
    module = sys.modules['maskforge.ops.roi_align']  # the function of that name hides it
    monkeypatch.setattr(module, '_difference', problem)
    with pytest.warns(RuntimeWarning, match=f'falls back to the slower one of torchvision.*{message}'):
        assert not module._loops_work.__wrapped__()


def test_no_regions_keep_the_graph():
    features = torch.rand(1, 3, 8, 8, requires_grad=True)
    pooled = ops.roi_align(features, torch.zeros(0, 5), output_size=7, spatial_scale=0.25)
    pooled.sum().backward()
    assert pooled.shape == (0, 3, 7, 7)
    assert features.grad.abs().sum() == 0
