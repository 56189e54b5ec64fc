"""The objects of a batch of clips, one after the other, and their frames' features.

Legend: B clips, T frames, N objects of all clips, H W pixels of the network's input.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from maskforge.models.sam2.network import SAM2Network
from maskforge.models.sam2.structures import ImageFeatures
from maskforge.ops.device_values import on_device
from maskforge.structures import ClipSample

Clips = Float[Tensor, 'B T 3 H W']


@dataclass
class ClipObjects:
    """Truth of all objects.

    Attributes:
        masks: theirs.
        clip: each one's clip.
    """

    masks: Bool[Tensor, 'T N 1 H W']
    clip: Int[Tensor, ' N']

    @classmethod
    def of(cls, samples: Sequence[ClipSample], clips: Clips) -> 'ClipObjects':
        """Join the samples' objects.

        Raises:
            ValueError: a sample without masks or objects, or whose masks do not fit its frames; it is named.
        """
        for sample in samples:
            _check(sample, (clips.shape[1], *clips.shape[-2:]))
        counts = [sample.gt_masks.shape[1] for sample in samples]
        index = [clip for clip, count in enumerate(counts) for _ in range(count)]
        masks = torch.cat([sample.gt_masks for sample in samples], 1)
        return cls(masks[:, :, None].to(clips.device, non_blocking=True).bool(), on_device(index, clips.device))


def _check(sample: ClipSample, expected: tuple[int, int, int]) -> None:
    masks, name = sample.get('gt_masks'), f"clip {sample.get('video_name')!r} of {sample.get('source')!r}"
    if masks is None:
        raise ValueError(f'{name} has no gt_masks: training needs true masks on every frame.')
    if (masks.shape[0], *masks.shape[2:]) != expected or masks.shape[1] == 0:
        raise ValueError(f'{name}: gt_masks is (T, O, H, W) = {tuple(masks.shape)}; with its frames T, H, W must be '
                         f'{expected}, and O at least 1.')


def frame_features(network: SAM2Network, clips: Clips, *,
                   per_frame: bool) -> tuple[Callable[[int, Tensor], ImageFeatures], Tensor]:
    """Return what gives the features of a frame for objects of some clips, and a tensor on their device.

    Args:
        per_frame: encode a frame when it is asked for, and keep it no longer; False encodes all at once.
    """
    length = clips.shape[1]
    if per_frame:
        return (lambda frame, clip: network.encode_images(clips[:, frame])[clip]), clips
    encoded = network.encode_images(clips.flatten(0, 1))
    return (lambda frame, clip: encoded[clip * length + frame]), encoded.s16
