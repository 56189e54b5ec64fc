"""The losses of Mask2Former: match, then compare classes and masks, for all predictions at once."""
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.losses.dice import dice_loss
from maskforge.losses.focal import sigmoid_focal_loss
from maskforge.losses.matching import Matches, match
from maskforge.losses.point_sampling import sample_masks, sample_points, uncertain_points
from maskforge.losses.set_criterion import (
    average_count,
    check_labels,
    current_iteration,
    name_layers,
    overflow_is_expected,
    sum_by_layer,
)
from maskforge.models.mask2former.matching import costs_at_pixels, costs_at_points
from maskforge.models.mask2former.predictions import MaskPredictions
from maskforge.models.mask2former.targets import MaskTargets
from maskforge.structures import DetDataSample


class Mask2FormerCriterion(nn.Module):
    """Matching and losses (Cheng et al., CVPR 2022, sections 3.2 and 3.3).

    Legend: N predictions, B images, Q queries, K classes, T targets, M matched pairs.

    Args:
        class_weight, mask_weight, dice_weight: of the losses.
        set_cost_class, set_cost_mask, set_cost_dice: weights of the matching costs; the losses' by default.
        no_object_weight: of queries without a target in the class loss.
        num_points: places of a mask that are compared.
        oversample_ratio, importance_sample_ratio: how uncertain places are preferred in the loss, see
            :func:`~maskforge.losses.point_sampling.uncertain_points`.
        deep_supervision: losses of all predictions rather than of the last.
        every_pixel: focal loss and dice over all pixels at a quarter of the resolution, as TAO has it; points do not
            matter then.

    Raises:
        ValueError: ratios that leave no points.
    """

    def __init__(self, *, class_weight: float | int = 2., mask_weight: float | int = 5.,
                 dice_weight: float | int = 5., no_object_weight: float | int = 0.1, num_points: int = 12544,
                 oversample_ratio: float | int = 3., importance_sample_ratio: float | int = 0.75,
                 deep_supervision: bool = True, every_pixel: bool = False,
                 set_cost_class: float | int | None = None, set_cost_mask: float | int | None = None,
                 set_cost_dice: float | int | None = None) -> None:
        super().__init__()
        if num_points < 1 or oversample_ratio < 1 or not 0 <= importance_sample_ratio <= 1:
            raise ValueError(f'num_points={num_points} must be at least 1, oversample_ratio={oversample_ratio} at '
                             f'least 1, and importance_sample_ratio={importance_sample_ratio} in 0 .. 1.')
        self.weights = {'class': class_weight, 'mask': mask_weight, 'dice': dice_weight}
        costs = zip(self.weights, (set_cost_class, set_cost_mask, set_cost_dice))
        self.costs = {name: self.weights[name] if cost is None else cost for name, cost in costs}
        self.no_object_weight, self.num_points = no_object_weight, num_points
        self.oversample_ratio, self.importance_sample_ratio = oversample_ratio, importance_sample_ratio
        self.deep_supervision, self.every_pixel = deep_supervision, every_pixel

    def forward(self, found: MaskPredictions, data_samples: Sequence[DetDataSample]) -> dict[str, Tensor]:
        """Return the weighted losses by name.

        Names: ``loss_ce``, ``loss_mask``, ``loss_dice`` of the last prediction; ``_0`` .. of the earlier ones, of which
        ``_0`` is made before the first layer.

        Raises:
            ValueError: a label outside 0 .. K - 1, samples without masks.
            FloatingPointError: predictions are not finite.
        """
        if not self.deep_supervision:
            found = found._replace(class_logits=found.class_logits[-1:], mask_embeddings=found.mask_embeddings[-1:])
        targets = MaskTargets.of(data_samples, found.class_logits.device)
        check_labels(targets.labels, found.class_logits.shape[-1] - 1)
        small = _shrink(targets.masks, found.mask_features.shape[-2:]) if self.every_pixel else None
        matches = self._match(found, targets, small)
        number = average_count(len(targets.labels), found.class_logits)
        terms, layers = self._mask_terms(found, targets, matches, small)
        losses = {name: self.weights[name.removeprefix('loss_')] / number
                  * sum_by_layer(values, layers, len(found.class_logits)) for name, values in terms.items()}
        classes = self.weights['class'] * self._class_loss(found.class_logits, targets, matches)
        return name_layers({'loss_ce': classes, **losses})

    def _match(self, found: MaskPredictions, targets: MaskTargets, small: Tensor | None) -> Matches:
        if small is not None:
            costs = costs_at_pixels(found, targets, small, self.costs)
        else:
            costs = costs_at_points(found, targets, self.costs, num_points=self.num_points)
        when = current_iteration()
        context = 'matching for loss_ce, loss_mask, loss_dice' + (f' at {when}' if when else '')
        return match(dict(prediction=costs), targets.counts, context=context,
                     survive=overflow_is_expected(costs.device))['prediction']

    def _class_loss(self, logits: Float[Tensor, 'N B Q K+1'], targets: MaskTargets,
                    matches: Matches) -> Float[Tensor, ' N']:
        """Cross entropy, averaged over this process's queries by weight, as in the original."""
        no_object = logits.shape[-1] - 1
        wanted = logits.new_full(logits.shape[:3], no_object, dtype=torch.long)
        wanted[matches[:3]] = targets.labels[matches.targets]
        weight = torch.where(wanted == no_object, self.no_object_weight, 1.0)
        terms = F.cross_entropy(logits.flatten(0, 2).float(), wanted.flatten(), reduction='none')
        terms = terms.view_as(weight) * weight
        return terms.sum((1, 2)) / weight.sum((1, 2))

    def _mask_terms(self, found: MaskPredictions, targets: MaskTargets, matches: Matches,
                    small: Tensor | None) -> tuple[dict[str, Float[Tensor, ' M']], Tensor]:
        """The terms of all matched pairs and their prediction's number, image after image."""
        order = matches.images.argsort(stable=True)
        layers, images, queries, chosen = (index[order] for index in matches)
        predictions, _, queries_each = found.class_logits.shape[:3]
        # known here, so that nobody asks the device
        pairs = [predictions * min(count, queries_each) for count in targets.counts]
        logits = _logits_of_pairs(found, found.mask_embeddings[layers, images, queries].split(pairs))
        if small is not None:
            wanted = small[chosen].flatten(1)
            terms = sigmoid_focal_loss(logits.flatten(1), wanted).mean(1)
            return dict(loss_mask=terms, loss_dice=dice_loss(logits.flatten(1).sigmoid(), wanted)), layers
        points = uncertain_points(logits.detach(), self.num_points, oversample_ratio=self.oversample_ratio,
                                  importance_sample_ratio=self.importance_sample_ratio)
        wanted = sample_masks(targets.masks, chosen, points)
        sampled = sample_points(logits[:, None], points)[:, 0]
        terms = F.binary_cross_entropy_with_logits(sampled, wanted, reduction='none').mean(1)
        return dict(loss_mask=terms, loss_dice=dice_loss(sampled.sigmoid(), wanted)), layers


def _logits_of_pairs(found: MaskPredictions, embeddings: Sequence[Float[Tensor, '_ M']]) -> Float[Tensor, 'M h w']:
    """The masks of matched queries alone, a small part of all; ``embeddings`` are by image."""
    parts = [torch.einsum('qm,mhw->qhw', part, features) for part, features in zip(embeddings, found.mask_features)]
    return torch.cat(parts).float()


def _shrink(masks: Bool[Tensor, 'T H W'], size: Sequence[int]) -> Bool[Tensor, 'T h w']:
    return F.interpolate(masks[None].byte(), size=tuple(size))[0].bool() if len(masks) else masks.new_zeros((0, *size))
