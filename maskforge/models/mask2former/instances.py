"""Instances: the best pairs of query and class, with masks as packed bits and their boxes."""
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask
from torch import Tensor

from maskforge.ops.device_values import on_device
from maskforge.structures import InstanceMasks
from maskforge.structures.bit_planes import pack_bits
from maskforge.structures.packed_mask import PackedMask


class InstanceStrips:
    """Makes the instances of one image from strips of rows (Cheng et al., CVPR 2022, appendix; official release).

    Legend: Q queries, P of them that are among the best pairs.

    Args:
        class_logits: no-object last.
        size: (height, width) of the image.
        topk: most pairs of query and class.
        classes: of every class, whether its instances are wanted; None wants all.
        score_threshold: instances with a lower score are dropped.
        dedup_iou: of instances of one class whose masks overlap more, the best stays; None keeps all.
        boxes_from_masks: False leaves the boxes at zero.
    """

    def __init__(self, class_logits: Float[Tensor, 'Q K+1'], size: Sequence[int], *, topk: int,
                 classes: Sequence[bool] | None, score_threshold: float | int, dedup_iou: float | int | None,
                 boxes_from_masks: bool) -> None:
        scores = class_logits.float().softmax(-1)[:, :-1]
        best = scores.flatten().topk(min(topk, scores.numel()))
        queries, labels = best.indices // scores.shape[1], best.indices % scores.shape[1]
        # a mask can only lower the score
        wanted = best.values >= score_threshold
        if classes is not None:
            wanted &= on_device(classes, labels.device, dtype=torch.bool)[labels]
        self.queries, self._places = queries[wanted].unique(return_inverse=True)
        self._labels, self._scores = labels[wanted], best.values[wanted]
        self._size, self._score_threshold = tuple(size), score_threshold
        self._dedup_iou, self._boxes_from_masks = dedup_iou, boxes_from_masks
        # eight pixels in a byte
        self._bits = np.zeros((len(self.queries), size[0], -(-size[1] // 8)), np.uint8)
        self._inside, self._pixels = (torch.zeros(len(self.queries), dtype=torch.double, device=scores.device)
                                      for _ in range(2))

    def add(self, low: int, logits: Float[Tensor, 'P h W'], probs: Float[Tensor, 'P h W']) -> None:
        """Take the strip whose first row is ``low``."""
        inside = logits > 0
        self._bits[:, low:low + inside.shape[1]] = pack_bits(inside).cpu().numpy()
        self._pixels += inside.view(torch.uint8).sum(2, dtype=torch.int32).sum(1)
        # rows first: their sums do not depend on the height of the strip
        self._inside += (probs * inside).sum(2).double().sum(1)

    def result(self) -> InstanceData:
        """Return bboxes (xyxy, tight around the masks), scores, labels, masks by falling score, on the CPU.

        Instances without a pixel are left out.
        """
        quality = (self._inside / (self._pixels + 1e-6)).float()
        scores = self._scores * quality[self._places]
        kept = (scores >= self._score_threshold) & (self._pixels > 0)[self._places]
        order = scores.argsort(descending=True, stable=True)
        order = order[kept[order]]
        scores, labels, places = (values[order].cpu() for values in (scores, self._labels, self._places))
        packed = {place: PackedMask.from_rows(self._bits[place], self._size) for place in places.unique().tolist()}
        masks = InstanceMasks([packed[place] for place in places.tolist()], *self._size)
        boxes = torch.from_numpy(masks.bboxes()) if self._boxes_from_masks else torch.zeros(len(masks), 4)
        found = InstanceData(bboxes=boxes, scores=scores, labels=labels, masks=masks)
        return found if self._dedup_iou is None else found[without_duplicates(masks, labels.tolist(), self._dedup_iou)]


def without_duplicates(masks: InstanceMasks, labels: Sequence[int], threshold: float | int) -> list[int]:
    """Return the positions of masks that overlap no earlier kept one of their class by an IoU above ``threshold``.

    Args:
        masks: best first.
    """
    rles, kept = masks.to_rles(), []
    for position, label in enumerate(labels):
        rivals = [rles[other] for other in kept if labels[other] == label]
        if not rivals or coco_mask.iou([rles[position]], rivals, [0] * len(rivals)).max() <= threshold:
            kept.append(position)
    return kept
