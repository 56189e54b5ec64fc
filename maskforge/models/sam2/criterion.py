"""The loss of SAM 2: every pass of the decoder on every frame is compared with the truth (spec: appendix D.2)."""
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from maskforge.losses.set_criterion import average_count
from maskforge.models.sam2.best_mask import BestMask, best_mask
from maskforge.models.sam2.losses import iou_error, mask_terms, presence_loss

TERMS = ('mask', 'dice', 'iou', 'class')


@dataclass(frozen=True)
class LossSettings:
    """``model.loss``; names and values of the official fine-tuning.

    Attributes:
        loss_mask, loss_dice, loss_iou, loss_class: weights of focal loss, dice loss, error of the predicted IoU, and
            visibility of the object; a term of weight 0 is logged, but not trained.
        focal_alpha, focal_gamma: of the focal loss.
        focal_alpha_obj_score, focal_gamma_obj_score: of the visibility; -1 and 0 make it cross entropy.
        supervise_all_iou: the IoUs of all masks of a pass are trained (their mean), not of the best alone.
        iou_use_l1_loss: absolute error of the IoU; False squares it.
        pred_obj_scores: train the visibility, and nothing else where the object is absent. False takes all objects
            for visible ones; None follows the network's setting of that name.
        ungated: compare masks as they are before those of objects that are predicted to be absent are emptied. An
            emptied mask has no gradient, and costs up to thousands (5120 times the object's part of the image): the
            reason for jumps of the original loss. False is the original.

    Raises:
        ValueError: a negative weight, or all of them 0.
    """

    loss_mask: float | int = 20.
    loss_dice: float | int = 1.
    loss_iou: float | int = 1.
    loss_class: float | int = 1.
    focal_alpha: float | int = 0.25
    focal_gamma: float | int = 2.
    focal_alpha_obj_score: float | int = -1.
    focal_gamma_obj_score: float | int = 0.
    supervise_all_iou: bool = True
    iou_use_l1_loss: bool = True
    pred_obj_scores: bool | None = None
    ungated: bool = False

    def __post_init__(self) -> None:
        weights = {f'loss_{term}': getattr(self, f'loss_{term}') for term in TERMS}
        if min(weights.values()) < 0 or not any(weights.values()):
            raise ValueError(f'loss: weights must not be negative, nor all 0; got {weights}.')

    @property
    def weights(self) -> tuple[float | int, ...]:
        """In the order of ``TERMS``."""
        return tuple(getattr(self, f'loss_{term}') for term in TERMS)


@dataclass
class DecoderPass:
    """What one pass says, as far as the loss compares it.

    Attributes:
        logits: M masks of any size.
        ious: predicted.
        object_scores: logits.
    """

    logits: Float[Tensor, 'N M _ _']
    ious: Float[Tensor, 'N M']
    object_scores: Float[Tensor, 'N 1']


class ClipCriterion:
    """Sums the terms over passes, frames and objects; not over the processes, which is done once per step.

    The sums are divided by the number of objects alone, so the loss grows with the clip's length and the number of
    corrections, as the official one does.

    Args:
        settings: weights and forms.
        recompute: keep no masks of the input's size for the backward pass: the gradient with respect to the logits of a
            quarter of the size is computed along with the terms.
    """

    def __init__(self, settings: LossSettings, *, recompute: bool = True) -> None:
        self.settings, self.recompute = settings, recompute

    def pass_terms(self, found: DecoderPass, truth: Bool[Tensor, 'N 1 H W']) -> Float[Tensor, ' 4']:
        """Return the sums over the objects of the unweighted terms of one pass, in the order of ``TERMS``."""
        own, scored = self.settings, self.settings.pred_obj_scores is not False
        with torch.autocast(found.logits.device.type, enabled=False):
            focal, dice, best, actual = self._compared(found.logits, truth)
            error = iou_error(found.ious, actual, l1=own.iou_use_l1_loss)
            error = error.mean(1) if own.supervise_all_iou else error.gather(1, best[:, None])[:, 0]
            present = truth.flatten(1).any(1) if scored else truth.new_ones(len(truth))
            visible = presence_loss(found.object_scores, present[:, None], alpha=own.focal_alpha_obj_score,
                                    gamma=own.focal_gamma_obj_score)
            # not a product: a mask of an absent object may be infinite
            terms = torch.where(present, torch.stack((focal, dice, error)), 0.).sum(1)
            return torch.cat((terms, visible.sum()[None] * scored))

    def _compared(self, logits: Float[Tensor, 'N M _ _'], truth: Bool[Tensor, 'N 1 H W']) -> BestMask:
        own = self.settings
        focal_settings, weights = dict(alpha=own.focal_alpha, gamma=own.focal_gamma), (own.loss_mask, own.loss_dice)
        if self.recompute:
            return best_mask(logits, truth, weights=weights, **focal_settings)
        focal, dice, ious = mask_terms(logits, truth, **focal_settings)
        best = (weights[0] * focal + weights[1] * dice).detach().argmin(1)
        return BestMask(*(term.gather(1, best[:, None])[:, 0] for term in (focal, dice)), best, ious)

    def losses(self, sums: Float[Tensor, ' 4'], num_objects: int) -> dict[str, Tensor]:
        """Return the weighted terms, ``loss_mask`` and so on, whose sum is the loss, and the unweighted ones to log.

        Args:
            sums: over all passes, frames and objects of this process.
            num_objects: of this process; the mean over the processes divides, so every object counts the same.
        """
        terms = sums / average_count(num_objects, sums)
        weighted = {f'loss_{name}': weight * term for name, weight, term in zip(TERMS, self.settings.weights, terms)
                    if weight}
        return weighted | {f'unweighted_{name}': term for name, term in zip(TERMS, terms.detach())}
