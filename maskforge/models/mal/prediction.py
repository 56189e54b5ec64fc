"""Logits of both networks to labelled boxes.

Legend: B crops, S side of the logits, c side of the crops.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn import functional as F

from maskforge.models.mal.postprocess import (
    box_agreement,
    box_fill,
    fill_plausibility,
    inside_boxes,
    mask_in_image,
    teacher_agreement,
    visible_window,
)
from maskforge.models.mal.size_bins import threshold_of
from maskforge.ops.device_values import on_device
from maskforge.structures import DetDataSample, InstanceMasks


@dataclass(frozen=True)
class PredictionSettings:
    """How logits become masks.

    Attributes:
        mask_thres: one threshold, or those of small, medium and large boxes; a pixel's probability exceeds it.
        size_bins: rule of the sizes.
        clip: 'image' or 'crop'; see :class:`~maskforge.models.mal.compat.Compat`.
        use_teacher_test, use_mixed_model_test: masks from the teacher, or from the mean of both networks' logits (which
            wins); by default from the student.
    """

    mask_thres: tuple[float, ...]
    size_bins: str = 'half_open'
    clip: str = 'image'
    use_teacher_test: bool = False
    use_mixed_model_test: bool = False

    def choose(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the logits that the masks are made of."""
        if self.use_mixed_model_test:
            return (student + teacher) / 2
        return teacher if self.use_teacher_test else student


def add_predictions(samples: Sequence[DetDataSample], student: Float[Tensor, 'B S S'],
                    teacher: Float[Tensor, 'B S S'], crop_size: int, settings: PredictionSettings) -> None:
    """Give every sample ``pred_instances`` of length 1, on the CPU.

    Its fields: ``bboxes`` (the given box), ``labels``, ``masks`` (RLE at the image's size), ``teacher_agreement`` (IoU
    of the two networks' masks in the box), ``box_agreement`` (IoU of the mask's tight box and the box), ``box_fill``
    (part of the box's pixels that the mask has), and ``scores``, the quality: see :func:`quality`. All in [0, 1].
    """
    thresholds = [threshold_of(sample.box_area, settings.mask_thres, settings.size_bins) for sample in samples]
    boxes = on_device([list(sample.box_in_crop) for sample in samples], student.device, dtype=torch.float32)
    inside = inside_boxes(boxes, crop_size, student.shape[-1])
    trust = teacher_agreement(student, teacher, inside, thresholds)
    chosen = settings.choose(student, teacher)
    probs = F.interpolate(chosen[:, None], size=(crop_size, crop_size), mode='bilinear', align_corners=False).sigmoid()
    if settings.clip == 'crop':
        probs = probs * inside_boxes(boxes, crop_size, crop_size)[:, None]
    for index, sample in enumerate(samples):
        sample.pred_instances = _instance(sample, probs[index, 0], thresholds[index], trust[index], settings)


def _instance(sample: DetDataSample, probs: Float[Tensor, 'c c'], threshold: float, trust: float,
              settings: PredictionSettings) -> InstanceData:
    size = tuple(sample.ori_shape[:2])
    crop_box = [int(value) for value in sample.crop_box]
    window = visible_window(crop_box, size, sample.box if settings.clip == 'image' else None)
    rle, tight = mask_in_image(probs, crop_box, window, size, threshold)
    masks = InstanceMasks.from_rles([rle], *size)
    fit = box_agreement(tight, sample.box, size)
    fill = box_fill(int(masks.areas()[0]), visible_window(crop_box, size, sample.box))
    return InstanceData(bboxes=torch.tensor([list(sample.box)], dtype=torch.float32),
                        scores=torch.tensor([quality(trust, fit, fill)]), labels=sample.gt_instances.labels.cpu(),
                        masks=masks, teacher_agreement=torch.tensor([trust]), box_agreement=torch.tensor([fit]),
                        box_fill=torch.tensor([fill]))


def quality(trust: float, fit: float, fill: float) -> float:
    """Return how far one may trust a mask without looking at it, in [0, 1].

    The geometric mean of three: the networks' agreement, the tight box's agreement with the given one, and
    :func:`~maskforge.models.mal.postprocess.fill_plausibility`. The two agreements alone are highest for a mask that is
    just its box: both networks are sure of it, and it could not fit better.
    """
    return (trust * fit * fill_plausibility(fill)) ** (1 / 3)
