"""What travels between the parts of SAM 2.

Legend: B images, N objects, C hidden channels (256), D memory channels (64), P points, M masks of one decoder pass,
H W pixels of the network's input, h w its map at stride 16 (h8 w8 and h4 w4: strides 8 and 4).
"""
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass
class ImageFeatures:
    """Maps of B images, or of N objects after ``features[index]``.

    Attributes:
        s16: stride 16, without position code; raw, or conditioned by memories.
        s8, s4: the decoder's high-resolution maps (after its ``conv_s1`` and ``conv_s0``); None where the network has
            ``use_high_res_features_in_sam=False``.
    """

    s16: Float[Tensor, 'N C h w']
    s8: Float[Tensor, 'N C8 h8 w8'] | None
    s4: Float[Tensor, 'N C4 h4 w4'] | None

    def __getitem__(self, index: 'Tensor | slice') -> 'ImageFeatures':
        """Return rows, by a LongTensor (an image's row for every object) or a slice."""
        return ImageFeatures(*(None if level is None else level[index] for level in (self.s16, self.s8, self.s4)))

    def __len__(self) -> int:
        return len(self.s16)

    def with_s16(self, s16: Float[Tensor, 'N C h w']) -> 'ImageFeatures':
        """Return the same high-resolution maps with another map at stride 16; those of one row stand for all of its."""
        s8, s4 = (None if level is None else level.expand(len(s16), -1, -1, -1) for level in (self.s8, self.s4))
        return ImageFeatures(s16, s8, s4)

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the network's input in pixels."""
        return self.s16.shape[-2] * 16, self.s16.shape[-1] * 16


@dataclass
class Prompts:
    """What a user or a simulated one says about N objects; every part is optional.

    Attributes:
        points: x, y in pixels of the network's input.
        labels: 1 positive, 0 negative, 2 and 3 a box's top left and bottom right corner, -1 padding.
        masks: logits at stride 4, such as an earlier output: the dense prompt.
    """

    points: Float[Tensor, 'N P 2'] | None = None
    labels: Int[Tensor, 'N P'] | None = None
    masks: Float[Tensor, 'N 1 _ _'] | None = None

    def __getitem__(self, index: 'Tensor | slice') -> 'Prompts':
        """Return rows, by a LongTensor or a slice."""
        return Prompts(*(None if part is None else part[index] for part in (self.points, self.labels, self.masks)))

    @property
    def num_points(self) -> int:
        """P, with padding: what decides between one mask and several (a box counts 2)."""
        return 0 if self.labels is None else self.labels.shape[1]

    def add_points(self, points: Float[Tensor, 'N K 2'], labels: Int[Tensor, 'N K']) -> 'Prompts':
        """Return the prompts with points behind those that are there."""
        if self.points is None:
            return replace(self, points=points, labels=labels)
        return replace(self, points=torch.cat((self.points, points), 1), labels=torch.cat((self.labels, labels), 1))

    def with_masks(self, masks: Float[Tensor, 'N 1 _ _'] | None) -> 'Prompts':
        """Return the prompts with another dense prompt."""
        return replace(self, masks=masks)


@dataclass
class MaskOutput:
    """What one pass of the decoder says about N objects.

    Attributes:
        multimasks_low: logits of the M masks at stride 4; -1024 throughout where the object is predicted to be absent.
        ious: predicted IoU of each mask.
        object_scores: logits of the object being visible.
        masks_low, masks_high: the mask of the highest predicted IoU, at stride 4 and at the input's size (float32).
        pointers: what memory attention remembers the object by.
        ungated_low: the M masks before the gate for absent objects, which lets no gradient through.
    """

    multimasks_low: Float[Tensor, 'N M h4 w4']
    ious: Float[Tensor, 'N M']
    object_scores: Float[Tensor, 'N 1']
    masks_low: Float[Tensor, 'N 1 h4 w4']
    masks_high: Float[Tensor, 'N 1 H W']
    pointers: Float[Tensor, 'N C']
    ungated_low: Float[Tensor, 'N M h4 w4']


@dataclass
class FrameMemory:
    """What a frame leaves behind of N objects.

    Attributes:
        spatial: encoded mask and image.
        position: its sine code, without the frame's place in time; the same for all objects.
        pointers: of :class:`MaskOutput`.
    """

    spatial: Float[Tensor, 'N D h w']
    position: Float[Tensor, '1 D h w']
    pointers: Float[Tensor, 'N C']

    def __getitem__(self, index: 'Tensor | slice') -> 'FrameMemory':
        """Return the objects of a LongTensor or a slice."""
        return FrameMemory(self.spatial[index], self.position, self.pointers[index])
