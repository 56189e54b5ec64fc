"""From the last layer's outputs to detections in the original image."""
from collections.abc import Sequence

import torch
from jaxtyping import Float
from mmengine.structures import InstanceData
from torch import Tensor

from maskforge.ops.boxes import cxcywh_to_xyxy, scale_boxes
from maskforge.structures import DetDataSample


def best_detections(logits: Float[Tensor, 'B Q K'], boxes_cxcywh: Float[Tensor, 'B Q 4'],
                    num_select: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the ``num_select`` best pairs of query and class of every image (all of them if there are fewer).

    Returns:
        (B, D, 4) boxes xyxy in the unit of ``boxes_cxcywh``, (B, D) scores in [0, 1], falling, (B, D) int64 classes.
    """
    classes = logits.shape[-1]
    scores = logits.float().sigmoid().flatten(1)
    scores, best = scores.topk(min(num_select, scores.shape[1]) if not torch.jit.is_tracing() else num_select, dim=1)
    queries = torch.div(best, classes, rounding_mode='floor')
    chosen = boxes_cxcywh.float().gather(1, queries[..., None].expand(-1, -1, 4))
    return cxcywh_to_xyxy(chosen), scores, best % classes


def to_detections(logits: Float[Tensor, 'B Q K'], boxes_cxcywh: Float[Tensor, 'B Q 4'],
                  data_samples: Sequence[DetDataSample], *, num_select: int,
                  conf_threshold: float | int = 0.) -> list[InstanceData]:
    """Return bboxes (xyxy, original image), scores and labels of every image, best first.

    Images without a detection of at least ``conf_threshold`` get empty instances: the list always has one entry per
    sample.
    """
    found = []
    for sample, boxes, scores, labels in zip(data_samples, *best_detections(logits, boxes_cxcywh, num_select)):
        height, width = sample.metainfo.get('ori_shape', sample.img_shape)[:2]
        kept = (scores >= conf_threshold).nonzero()[:, 0]
        found.append(InstanceData(bboxes=scale_boxes(boxes, (width, height))[kept], scores=scores[kept],
                                  labels=labels[kept]))
    return found
