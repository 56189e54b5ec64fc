"""Non-maximum suppression within groups (classes, levels, images): a box goes if IoU > threshold with a better one."""
import torch
import torchvision
from jaxtyping import Bool, Float, Int
from torch import Tensor


def grouped_nms(boxes: Float[Tensor, 'N 4'], scores: Float[Tensor, ' N'], groups: Int[Tensor, ' N'], *,
                iou_threshold: float | int) -> Int[Tensor, ' K']:
    """Return the indices of the kept boxes by falling score; boxes of different groups never suppress each other."""
    return torchvision.ops.batched_nms(boxes.float(), scores.float(), groups, iou_threshold)


def nms_mask(boxes: Float[Tensor, 'N 4'], scores: Float[Tensor, ' N'], *,
             iou_threshold: float | int) -> Bool[Tensor, ' N']:
    """Return which boxes are kept, all in one group: the form with a fixed shape, which every exporter can trace."""
    keep = torchvision.ops.nms(boxes, scores, iou_threshold)
    return torch.zeros_like(scores).index_fill(0, keep, 1.0) > 0


def multiclass_nms(boxes: Float[Tensor, 'N _ 4'], scores: Float[Tensor, 'N K'], *, score_thr: float | int,
                   iou_threshold: float | int,
                   max_per_img: int) -> tuple[Float[Tensor, 'D 4'], Float[Tensor, ' D'], Int[Tensor, ' D']]:
    """Class-wise suppression of one image's boxes.

    Args:
        boxes: one box per class, or one for all of them (second axis 1).
        scores: foreground probabilities, without the background column.
        score_thr: candidates score above it, strictly.
        max_per_img: boxes that are kept; -1 keeps all.

    Returns:
        boxes, scores and labels by falling score.
    """
    rows, labels = (scores > score_thr).nonzero(as_tuple=True)
    columns = labels if boxes.shape[1] > 1 else torch.zeros_like(labels)
    boxes, scores = boxes[rows, columns], scores[rows, labels]
    keep = grouped_nms(boxes, scores, labels, iou_threshold=iou_threshold)
    if max_per_img > 0:
        keep = keep[:max_per_img]
    return boxes[keep], scores[keep], labels[keep]
