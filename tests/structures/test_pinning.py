import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from torch.utils.data._utils.pin_memory import pin_memory

from maskforge.structures import ClipSample, DetDataSample, InstanceMasks


@pytest.fixture
def moved(monkeypatch):
    """Shapes of the tensors that were pinned, on a machine where nothing can be."""
    shapes = []

    def pin(tensor, device=None):
        shapes.append(tuple(tensor.shape))
        return tensor.clone()
    monkeypatch.setattr(torch.Tensor, 'pin_memory', pin)
    return shapes


def test_samples_are_pinned_whole(moved):
    masks = InstanceMasks.from_bitmaps(np.ones((2, 4, 9), bool))
    image, plain = DetDataSample(metainfo=dict(img_id=3)), DetDataSample()
    image.gt_instances = InstanceData(bboxes=torch.ones(2, 4), masks=masks.with_pixels(), names=['a', 'b'])
    image.gt_sem_seg = PixelData(sem_seg=torch.zeros(1, 4, 9, dtype=torch.uint8))
    plain.gt_instances = InstanceData(masks=masks)
    clip = ClipSample(gt_masks=torch.ones(1, 1, 2, 2), pred_scores={1: [0.5]})
    batch = pin_memory(dict(inputs=[torch.zeros(3, 4, 9)], data_samples=[image, plain, clip]))
    assert sorted(moved) == sorted([(3, 4, 9), (2, 4), (2, 4, 2), (1, 4, 9), (1, 1, 2, 2)])
    found, other, video = batch['data_samples']
    assert type(found) is DetDataSample and found.img_id == 3 and found.gt_instances.names == ['a', 'b']
    assert found.gt_instances.masks.to_bitmaps().all() and len(other.gt_instances.masks) == 2
    assert video.pred_scores == {1: [0.5]} and video.gt_masks.all()
