"""Test-time augmentation: predictions of flipped and scaled views become one."""
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torchvision.ops import batched_nms, box_iou

from maskforge.registry import MODELS
from maskforge.structures import DetDataSample, InstanceMasks


@MODELS.register_module()
class DetTTAModel(BaseTTAModel):
    """Runs the model on every view of an image and merges the instances.

    Boxes of all views go through one class-wise NMS, as in MMDetection 3 (which merges boxes only). The mask of a box
    that stays is the pixel-wise majority, weighted by score, of its own mask and of the best overlapping mask of its
    class in each other view.

    Used by ``tools/test.py --tta`` together with ``tta_pipeline`` (mmcv's ``TestTimeAug``).

    Args:
        tta_cfg: ``dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)``.
        module: the model, or its config.
        data_preprocessor: for a model config without one.

    Raises:
        ValueError: an NMS of another type; while testing, predictions that are not instances.
    """

    def __init__(self, tta_cfg: dict[str, Any] | None = None, *, module: dict | nn.Module,
                 data_preprocessor: dict | nn.Module | None = None):
        super().__init__(module=module, data_preprocessor=data_preprocessor)
        config = dict(tta_cfg or {})
        nms = dict(config.pop('nms', dict(type='nms', iou_threshold=0.5)))
        kind = nms.pop('type', 'nms')
        if kind != 'nms':
            raise ValueError(f"tta_model.tta_cfg.nms.type must be 'nms', got {kind!r}.")
        self.iou_threshold = nms.pop('iou_threshold', 0.5)
        self.max_per_img = config.pop('max_per_img', 100)
        if nms or config:
            raise ValueError(f'tta_model.tta_cfg: unknown keys {", ".join([*nms, *config])}; known: '
                             'nms=dict(type, iou_threshold), max_per_img.')

    def merge_preds(self, data_samples_list: Sequence[Sequence[DetDataSample]]) -> list[DetDataSample]:
        """Merge the views of each image; the result has metainfo and truth of the first view that is not flipped."""
        return [self._merge_views(views) for views in data_samples_list]

    def _merge_views(self, views: Sequence[DetDataSample]) -> DetDataSample:
        _check_kinds(views[0])
        upright = [unflip_instances(view) for view in views]
        boxes = torch.cat([instances.bboxes for instances in upright])
        scores = torch.cat([instances.scores for instances in upright])
        labels = torch.cat([instances.labels for instances in upright])
        view_ids = torch.cat([torch.full((len(instances),), index, device=boxes.device)
                              for index, instances in enumerate(upright)])
        keep = batched_nms(boxes.float(), scores.float(), labels, self.iou_threshold)[:self.max_per_img]
        merged = InstanceData(bboxes=boxes[keep], scores=scores[keep], labels=labels[keep])
        if all('masks' in instances for instances in upright):
            masks = InstanceMasks.cat([instances.masks for instances in upright])
            groups = _supporters(boxes, scores, labels, view_ids, keep, self.iou_threshold)
            merged.masks = _vote(masks, scores, groups)
        # metrics may read the truth of the sample, which is upright in an unflipped view only
        sample = next((view for view in views if not view.metainfo.get('flip', False)), views[0]).new()
        sample.pred_instances = merged
        return sample


def _check_kinds(sample: DetDataSample) -> None:
    others = [name for name in ('pred_panoptic', 'pred_sem_seg') if name in sample]
    if others or 'pred_instances' not in sample:
        raise ValueError(f'test-time augmentation merges instances, but the model predicts '
                         f'{" and ".join(others) or "none"}. Test without --tta, or let it predict instances alone '
                         f"(model.mode='instance').")


def unflip_instances(sample: DetDataSample) -> InstanceData:
    """Predictions of a flipped view in the frame of the original image."""
    instances = sample.pred_instances
    if not sample.metainfo.get('flip', False):
        return instances
    height, width = sample.metainfo['ori_shape'][:2]
    direction = sample.metainfo['flip_direction']
    result = InstanceData(bboxes=flip_boxes(instances.bboxes, direction, (height, width)), scores=instances.scores,
                          labels=instances.labels)
    if 'masks' in instances:
        result.masks = instances.masks.flip(direction)
    return result


def flip_boxes(boxes: Tensor, direction: str, shape: tuple[int, int]) -> Tensor:
    """Mirror xyxy boxes (N, 4) in an image of ``shape`` (h, w); ``'horizontal'``, ``'vertical'``, ``'diagonal'``.

    Raises:
        ValueError: another direction.
    """
    if direction not in ('horizontal', 'vertical', 'diagonal'):
        raise ValueError(f"flip_direction must be 'horizontal', 'vertical' or 'diagonal', got {direction!r}.")
    height, width = shape
    x0, y0, x1, y1 = boxes.unbind(-1)
    if direction != 'vertical':
        x0, x1 = width - x1, width - x0
    if direction != 'horizontal':
        y0, y1 = height - y1, height - y0
    return torch.stack([x0, y0, x1, y1], dim=-1)


def _supporters(boxes: Tensor, scores: Tensor, labels: Tensor, view_ids: Tensor, keep: Tensor,
                threshold: float) -> list[list[int]]:
    """For each kept box: itself, and from every other view the best box of its class that overlaps enough."""
    overlaps = box_iou(boxes[keep].float(), boxes.float())
    agree = (overlaps > threshold) & (labels[keep][:, None] == labels[None])
    groups = []
    for row, own in enumerate(keep.tolist()):
        best = {int(view_ids[own]): own}
        candidates = agree[row].nonzero().flatten()
        for index in candidates[scores[candidates].argsort(descending=True)].tolist():
            best.setdefault(int(view_ids[index]), index)
        groups.append(list(best.values()))
    return groups


def _vote(masks: InstanceMasks, scores: Tensor, groups: list[list[int]]) -> InstanceMasks:
    """Pixel-wise majority within each group, weighted by score; one mask at a time is decoded."""
    voted = []
    for group in groups:
        if len(group) == 1:
            voted.append(InstanceMasks(masks[group].to_rles(), masks.height, masks.width))
            continue
        weights = scores[group].double().cpu().numpy()
        bitmaps = masks[group].to_bitmaps()
        majority = np.tensordot(weights, bitmaps.astype(np.float64), axes=1) > weights.sum() / 2
        voted.append(InstanceMasks.from_bitmaps(majority[None]))
    return InstanceMasks.cat(voted) if voted else InstanceMasks([], masks.height, masks.width)
