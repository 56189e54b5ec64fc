"""Second stage: sample proposals, train on them; refine them, suppress duplicates, predict masks.

Legend: B images, R regions of the batch (image index, xyxy), D detections of one image.
"""
import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from mmengine.model import BaseModule
from torch import Tensor

from maskforge.models.mask_rcnn.postprocess import Detections, detect, masks_to_original
from maskforge.models.mask_rcnn.settings import RCNNTestSettings, RCNNTrainSettings, read_settings
from maskforge.ops import scale_boxes
from maskforge.ops.device_values import on_device
from maskforge.registry import MODELS, TASK_UTILS


class SampledRegions(NamedTuple):
    """What one image trains the second stage on; positives come first.

    Attributes:
        boxes: (n, 4) positives, then negatives.
        labels: (n,) classes; the number of classes is background.
        truth: (p, 4) true boxes of the positives.
        truth_index: (p,) which true instance each positive stands for.
    """

    boxes: Tensor
    labels: Tensor
    truth: Tensor
    truth_index: Tensor


@MODELS.register_module()
class StandardRoIHead(BaseModule):
    """Box head and, optionally, mask head.

    Args:
        bbox_roi_extractor, bbox_head, mask_roi_extractor, mask_head: configs of MODELS; the mask pair is optional.
            Without ``mask_roi_extractor`` the mask head takes the box head's pooled features.
        train_cfg, test_cfg: :class:`RCNNTrainSettings` and :class:`RCNNTestSettings`; the detector hands them over.

    Raises:
        ValueError: mask size or class counts of the two heads that disagree; an unknown setting.
    """

    def __init__(self, bbox_roi_extractor: Mapping, bbox_head: Mapping, *, mask_roi_extractor: Mapping | None = None,
                 mask_head: Mapping | None = None, train_cfg: Mapping | None = None, test_cfg: Mapping | None = None,
                 init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg)
        self.bbox_roi_extractor, self.bbox_head = MODELS.build(bbox_roi_extractor), MODELS.build(bbox_head)
        self.mask_head = None if mask_head is None else MODELS.build(mask_head)
        self.mask_roi_extractor = None if mask_roi_extractor is None else MODELS.build(mask_roi_extractor)
        self.test_cfg = read_settings(RCNNTestSettings, test_cfg or {}, 'test_cfg.rcnn')
        self.train_cfg = None
        if train_cfg is not None:
            self.train_cfg = read_settings(RCNNTrainSettings, train_cfg, 'train_cfg.rcnn')
            self.assigner = TASK_UTILS.build(self.train_cfg.assigner)
            self.sampler = TASK_UTILS.build(self.train_cfg.sampler)
        self._check()

    @property
    def num_classes(self) -> int:
        """K, without the background."""
        return self.bbox_head.num_classes

    @property
    def with_mask(self) -> bool:
        """Whether there is a mask head."""
        return self.mask_head is not None

    def _check(self) -> None:
        if not self.with_mask:
            return
        if self.mask_head.num_classes != self.bbox_head.num_classes:
            raise ValueError(f'roi_head.mask_head.num_classes={self.mask_head.num_classes} and '
                             f'roi_head.bbox_head.num_classes={self.bbox_head.num_classes} must be equal.')
        if self.train_cfg is None:
            return
        if self.train_cfg.mask_size != self.mask_head.mask_size:
            raise ValueError(f'train_cfg.rcnn.mask_size={self.train_cfg.mask_size}, but the mask head predicts '
                             f'{self.mask_head.mask_size} x {self.mask_head.mask_size} pixels: set that number.')
        if self.train_cfg.mask_target not in ('binary', 'soft'):
            raise ValueError(f"train_cfg.rcnn.mask_target={self.train_cfg.mask_target!r} is not 'binary' or 'soft'.")

    def box_outputs(self, features: Sequence[Float[Tensor, 'B C _ _']],
                    rois: Float[Tensor, 'R 5']) -> tuple[Float[Tensor, 'R _'], Float[Tensor, 'R _']]:
        """Return class logits and box offsets of regions."""
        levels = features[:self.bbox_roi_extractor.num_inputs]
        return self.bbox_head(self.bbox_roi_extractor(levels, rois))

    def mask_outputs(self, features: Sequence[Float[Tensor, 'B C _ _']],
                     rois: Float[Tensor, 'R 5']) -> Float[Tensor, 'R _ T T']:
        """Return mask logits of regions."""
        extractor = self.mask_roi_extractor or self.bbox_roi_extractor
        return self.mask_head(extractor(features[:extractor.num_inputs], rois))

    def loss(self, features: Sequence[Float[Tensor, 'B C _ _']], proposals: Sequence[Float[Tensor, '_ 4']],
             samples: Sequence) -> dict[str, Tensor]:
        """Return ``loss_cls``, ``loss_bbox`` and, with a mask head, ``loss_mask``."""
        regions = [self._sample(boxes, sample) for boxes, sample in zip(proposals, samples)]
        logits, offsets = self.box_outputs(features, to_rois([image.boxes for image in regions]))
        counts = [len(image.truth) for image in regions]
        labels = torch.cat([image.labels for image in regions])
        positive = on_device(_leading_rows([len(image.labels) for image in regions], counts), labels.device,
                             dtype=torch.long)
        boxes = [image.boxes[:count] for image, count in zip(regions, counts)]
        losses = self.bbox_head.loss(logits, offsets, labels, torch.cat(boxes),
                                     torch.cat([image.truth for image in regions]), positive,
                                     pos_weight=self.train_cfg.pos_weight)
        if self.with_mask:
            targets = self._mask_targets(boxes, [image.truth_index for image in regions], samples)
            losses.update(self.mask_head.loss(self.mask_outputs(features, to_rois(boxes)), labels[positive], targets))
        return losses

    @torch.no_grad()
    def _sample(self, proposals: Tensor, sample) -> SampledRegions:
        truth, classes = sample.gt_instances.bboxes.float(), sample.gt_instances.labels
        ignored = sample.ignored_instances.bboxes if 'ignored_instances' in sample else None
        matches = self.assigner.assign(proposals, truth, ignored)
        if self.sampler.add_gt_as_proposals:
            proposals = torch.cat((truth, proposals))
            matches = torch.cat((torch.arange(len(truth), device=matches.device), matches))
        positive, negative = self.sampler.sample(matches)
        index = matches[positive]
        background = classes.new_full((len(negative),), self.num_classes)
        return SampledRegions(proposals[torch.cat((positive, negative))], torch.cat((classes[index], background)),
                              truth[index], index)

    @torch.no_grad()
    def _mask_targets(self, boxes: Sequence[Tensor], truth_index: Sequence[Tensor], samples: Sequence) -> Tensor:
        """Return the positives' targets of all images; masks are on the host, where the boxes go in one copy."""
        soft, side = self.train_cfg.mask_target == 'soft', self.mask_head.mask_size
        regions = torch.cat((torch.cat(list(boxes)), torch.cat(list(truth_index))[:, None]), dim=1).cpu().numpy()
        first, targets = 0, [np.zeros((0, side, side), np.float32 if soft else bool)]
        for count, sample in zip(map(len, boxes), samples):
            if count:
                part = regions[first:first + count]
                targets.append(sample.gt_instances.masks.crop_and_resize(
                    part[:, :4], part[:, 4], side, soft=soft, aligned=not soft))
            first += count
        return torch.from_numpy(np.concatenate(targets)).to(boxes[0].device, non_blocking=True).to(boxes[0].dtype)

    def predict(self, features: Sequence[Float[Tensor, 'B C _ _']], proposals: Sequence[Float[Tensor, '_ 4']],
                samples: Sequence) -> list[Detections]:
        """Return each image's detections in the frame of its original image."""
        rois = to_rois(proposals)
        logits, offsets = self.box_outputs(features, rois)
        counts = [len(boxes) for boxes in proposals]
        found = [detect(self.bbox_head, *parts, self.test_cfg)
                 for parts in zip(proposals, logits.split(counts), offsets.split(counts), samples)]
        return self._add_masks(features, found, samples) if self.with_mask else found

    def _add_masks(self, features: Sequence[Tensor], found: list[Detections], samples: Sequence) -> list[Detections]:
        boxes = [scale_boxes(image.boxes, sample.metainfo.get('scale_factor', (1.0, 1.0)))
                 for image, sample in zip(found, samples)]
        labels = torch.cat([image.labels for image in found])
        probs = self.mask_head.select(self.mask_outputs(features, to_rois(boxes)), labels).sigmoid()
        return [image._replace(masks=masks_to_original(part, image.boxes, sample, self.test_cfg))
                for image, part, sample in zip(found, probs.split([len(b) for b in boxes]), samples)]


def _leading_rows(lengths: Sequence[int], counts: Sequence[int]) -> list[int]:
    """The first ``counts`` rows of each of several parts of ``lengths`` rows that are joined."""
    starts = itertools.accumulate(lengths, initial=0)
    return [start + row for start, count in zip(starts, counts) for row in range(count)]


def to_rois(boxes: Sequence[Float[Tensor, '_ 4']]) -> Float[Tensor, 'R 5']:
    """Join per-image boxes into rows of (image index, xyxy)."""
    return torch.cat([torch.cat((image.new_full((len(image), 1), index), image), dim=1)
                      for index, image in enumerate(boxes)])
