"""Sampling by matrix products against torchvision's RoIAlign."""
import numpy as np
import pytest
import torch
from torchvision.ops import roi_align

from maskforge.structures.box_sampling import sample_boxes


@pytest.mark.parametrize('seed', range(20))
@pytest.mark.parametrize('aligned', [True, False])
def test_equals_roi_align(seed, aligned):
    rng = np.random.default_rng(seed)
    bitmap = rng.random(rng.integers(1, 60, 2)) > 0.5
    corners = rng.uniform(-10, 60, (5, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 50, (5, 2))], axis=1).astype(np.float32)
    expected = roi_align(torch.from_numpy(bitmap)[None, None].float(), [torch.from_numpy(boxes)], 7, 1.0, 0, aligned)
    assert np.allclose(sample_boxes(bitmap, boxes, 7, aligned=aligned), expected[:, 0], atol=2e-5)


def test_nothing_to_sample():
    assert sample_boxes(np.ones((4, 5)), np.zeros((0, 4), dtype=np.float32), 7).shape == (0, 7, 7)
    backwards = np.array([[5, 5, 3, 3]], dtype=np.float32)
    assert (sample_boxes(np.ones((8, 8)), backwards, 7) == 0).all()
