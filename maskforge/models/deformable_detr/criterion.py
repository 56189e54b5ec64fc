"""The losses of Deformable DETR: match, then compare classes, boxes and overlaps, for all decoder layers at once."""
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from maskforge.losses.focal import sigmoid_focal_loss
from maskforge.losses.giou import paired_giou_loss
from maskforge.losses.matching import Matches, match
from maskforge.losses.set_criterion import (
    average_count,
    check_labels,
    current_iteration,
    name_layers,
    overflow_is_expected,
    padded_targets,
    sum_by_layer,
)
from maskforge.models.deformable_detr.predictions import SetPredictions
from maskforge.ops.boxes import cxcywh_to_xyxy, generalized_box_iou, xyxy_to_cxcywh
from maskforge.ops.device_values import on_device
from maskforge.structures import DetDataSample

#: of the matching cost, whatever the loss has (as in the original)
COST_ALPHA, COST_GAMMA = 0.25, 2.0
#: in parts of the image, squared
TINY_AREA = 1e-12


class DeformableDETRCriterion(nn.Module):
    """Matching and losses (Zhu et al., ICLR 2021, appendix A.4; Carion et al., ECCV 2020, section 3.1).

    Legend: N decoder layers, B images, Q queries, K classes, T targets (of all images, or the most of one
    image with the others padded), M matched pairs.

    Args:
        cls_loss_coef, bbox_loss_coef, giou_loss_coef: weights of focal, L1 and GIoU loss.
        set_cost_class, set_cost_bbox, set_cost_giou: weights of the matching costs; the losses' by default.
        focal_alpha: of the class loss.
    """

    def __init__(self, *, cls_loss_coef: float | int = 2., bbox_loss_coef: float | int = 5.,
                 giou_loss_coef: float | int = 2., set_cost_class: float | int | None = None,
                 set_cost_bbox: float | int | None = None, set_cost_giou: float | int | None = None,
                 focal_alpha: float = 0.25) -> None:
        super().__init__()
        self.weights = dict(loss_ce=cls_loss_coef, loss_bbox=bbox_loss_coef, loss_giou=giou_loss_coef)
        costs = (set_cost_class, set_cost_bbox, set_cost_giou)
        self.costs = tuple(loss if cost is None else cost for cost, loss in zip(costs, self.weights.values()))
        self.focal_alpha = focal_alpha

    def forward(self, predictions: SetPredictions, data_samples: Sequence[DetDataSample]) -> dict[str, Tensor]:
        """Return the weighted losses by name, and ``class_error`` and ``cardinality_error`` for the log.

        Names: ``loss_ce``, ``loss_bbox``, ``loss_giou`` of the last layer, ``_0`` .. of the earlier ones, ``_enc`` of
        the first stage, which learns one class.

        Raises:
            ValueError: a label outside 0 .. K - 1.
            FloatingPointError: predictions are not finite.
        """
        labels = [sample.gt_instances.labels for sample in data_samples]
        boxes = [normalised_boxes(sample) for sample in data_samples]
        check_labels(torch.cat(labels), predictions.logits.shape[-1])
        stages = dict(decoder=(predictions.logits, predictions.boxes_cxcywh, labels))
        if predictions.encoder_logits is not None:
            stages['encoder'] = (predictions.encoder_logits[None], predictions.encoder_boxes_cxcywh[None],
                                 [torch.zeros_like(one) for one in labels])
        matches = self._match(stages, boxes)
        number = average_count(sum(map(len, boxes)), predictions.boxes_cxcywh)
        losses = {name: self._losses(logits, chosen, torch.cat(wanted), torch.cat(boxes), matches[name], number)
                  for name, (logits, chosen, wanted) in stages.items()}
        found = name_layers(losses['decoder'])
        found |= {f'{name}_enc': value[0] for name, value in losses.get('encoder', {}).items()}
        return found | progress(predictions.logits[-1], labels, matches['decoder'], last=len(predictions.logits) - 1)

    def _match(self, stages: Mapping[str, tuple[Tensor, Tensor, list[Tensor]]],
               targets: list[Tensor]) -> dict[str, Matches]:
        padded = padded_targets(targets)
        costs = {name: matching_cost(logits, boxes, padded_targets(labels), padded, self.costs)
                 for name, (logits, boxes, labels) in stages.items()}
        when = current_iteration()
        context = f'matching for {", ".join(self.weights)}' + (f' at {when}' if when else '')
        return match(costs, [len(one) for one in targets], context=context,
                     survive=overflow_is_expected(padded.device))

    def _losses(self, logits: Tensor, boxes: Tensor, labels: Tensor, targets: Tensor, matches: Matches,
                number: Tensor) -> dict[str, Float[Tensor, ' N']]:
        chosen, wanted = boxes[matches[:3]], targets[matches.targets]
        classes = torch.zeros_like(logits)
        classes[(*matches[:3], labels[matches.targets])] = 1
        overlap = paired_giou_loss(cxcywh_to_xyxy(chosen), cxcywh_to_xyxy(wanted), TINY_AREA)
        terms = dict(
            loss_ce=sigmoid_focal_loss(logits, classes, alpha=self.focal_alpha).flatten(1).sum(1),
            loss_bbox=sum_by_layer((chosen - wanted).abs().sum(-1), matches.layers, len(logits)),
            loss_giou=sum_by_layer(overlap, matches.layers, len(logits)))
        return {name: value * self.weights[name] / number for name, value in terms.items()}


@torch.no_grad()
def matching_cost(logits: Float[Tensor, 'N B Q K'], boxes: Float[Tensor, 'N B Q 4'], labels: Int[Tensor, 'B T'],
                  targets: Float[Tensor, 'B T 4'], weights: Sequence[float | int]) -> Float[Tensor, 'N B Q T']:
    """Return the cost of every query with its image's targets: focal class cost, L1 of cxcywh, and -GIoU, weighted."""
    own = labels[None, :, None].expand(*logits.shape[:3], -1)
    probability = logits.gather(-1, own).float().sigmoid()
    positive = COST_ALPHA * (1 - probability)**COST_GAMMA * -(probability + 1e-8).log()
    negative = (1 - COST_ALPHA) * probability**COST_GAMMA * -(1 - probability + 1e-8).log()
    boxes, targets = boxes.float(), targets[None].expand(len(boxes), -1, -1, -1)
    distance = torch.cdist(boxes, targets, p=1)
    overlap = generalized_box_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(targets), eps=TINY_AREA)
    return weights[0] * (positive - negative) + weights[1] * distance - weights[2] * overlap


@torch.no_grad()
def progress(logits: Float[Tensor, 'B Q K'], labels: Sequence[Tensor], matches: Matches, *,
             last: int) -> dict[str, Float[Tensor, '']]:
    """Return what the log shows besides the losses, of layer number ``last``.

    Returns:
        ``class_error``, the percentage of matched queries whose best class is wrong, and ``cardinality_error``, by how
        many the queries with a score above 0.5 differ from the image's targets, on average.
    """
    of_last = matches.layers == last
    best = logits.argmax(-1)[matches.images, matches.queries]
    wrong = ((best != torch.cat(list(labels))[matches.targets]) & of_last).sum() / of_last.sum().clamp(min=1)
    present = (logits.amax(-1) > 0).sum(1).float()
    counts = on_device([float(len(one)) for one in labels], present.device)
    return dict(class_error=100 * wrong, cardinality_error=(present - counts).abs().mean())


def normalised_boxes(sample: DetDataSample) -> Float[Tensor, 'T 4']:
    """Return the sample's boxes, cxcywh in [0, 1] of the image without its padding."""
    height, width = sample.img_shape[:2]
    boxes = sample.gt_instances.bboxes.float()
    return xyxy_to_cxcywh(boxes) / on_device([width, height] * 2, boxes.device, dtype=boxes.dtype)
