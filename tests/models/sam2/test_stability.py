import pytest
import torch

from maskforge.models.sam2.stability import replace_unstable, stability_scores
from maskforge.models.sam2.structures import MaskOutput


def output(low: torch.Tensor, ious: torch.Tensor) -> MaskOutput:
    high = low.repeat_interleave(4, -1).repeat_interleave(4, -2)
    objects = len(low)
    return MaskOutput(low, high, ious, torch.ones(objects, 1), low[:, :1], high[:, :1], torch.rand(objects, 8), low)


def test_stability_is_the_iou_of_two_thresholds():
    logits = torch.tensor([[[2., .3, -.3, -2.]], [[-2., -2., -2., -2.]], [[-.1, -.1, -.1, -.1]]])
    assert stability_scores(logits, delta=1.).tolist() == pytest.approx([1 / 3, 1., 0.])
    assert stability_scores(logits, delta=.05).tolist() == [1., 1., 1.]
    assert stability_scores(logits, delta=1., mask_threshold=1.).tolist() == [0., 1., 1.]


def test_unstable_masks_give_way_to_the_surest_of_several():
    stable, unstable = torch.full((1, 2, 2), 5.), torch.full((1, 2, 2), .01)
    single = output(torch.stack([stable, unstable]), torch.tensor([[.5], [.6]]))
    several = output(torch.arange(2 * 3 * 4.).view(2, 3, 2, 2) + 100, torch.tensor([[.1, .9, .2], [.1, .2, .7]]))
    mixed = replace_unstable(single, several)
    assert torch.equal(mixed.masks_low[0], stable) and torch.equal(mixed.masks_low[1, 0], several.multimasks_low[1, 2])
    assert torch.equal(mixed.masks_high[1, 0], several.multimasks_high[1, 2])
    assert mixed.ious.flatten().tolist() == torch.tensor([.5, .7]).tolist()
    assert torch.equal(mixed.pointers, single.pointers)
    everything = replace_unstable(single, several, threshold=0.)
    assert torch.equal(everything.masks_low, single.masks_low)
