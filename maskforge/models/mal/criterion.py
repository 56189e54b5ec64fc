"""The two losses of MAL: rows and columns of the box, and a mean field of both networks' probabilities.

Legend: B crops, S side of the logits, c side of the crops.
"""
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from maskforge.losses.dice import squared_dice_loss
from maskforge.losses.mil import box_mil_loss
from maskforge.ops.mean_field import box_profile, mean_field

#: added to the number of crops that the first loss is divided by, as in the original
COUNT_EPS = 1e-4


class MALCriterion(nn.Module):
    """Weighted losses that warm up over the first iterations (Lan et al. 2023, section 3).

    Args:
        crf_kernel_size, crf_num_iter, crf_zeta, crf_value_low, crf_value_high, mean_field: window, iterations, colour
            distance, bounds and form of the mean field; see :func:`maskforge.ops.mean_field.mean_field`.
        loss_mil_weight, loss_crf_weight: of the two losses.
        loss_mil_step, loss_crf_step: iterations over which each weight grows from 0; 0 for no warm-up.

    Raises:
        ValueError: a mean field that cannot be (an even window, for example), or a negative number of iterations.
    """

    def __init__(self, *, crf_kernel_size: int = 3, crf_num_iter: int = 100, crf_zeta: float | int = 0.1,
                 crf_value_low: float = 0.1, crf_value_high: float = 0.9, mean_field: str = 'logit',
                 loss_mil_weight: float | int = 4., loss_crf_weight: float | int = 0.5, loss_mil_step: int = 1000,
                 loss_crf_step: int = 4000) -> None:
        super().__init__()
        if loss_mil_step < 0 or loss_crf_step < 0:
            raise ValueError(f'loss_mil_step={loss_mil_step} and loss_crf_step={loss_crf_step} must not be negative.')
        self.field = dict(kernel_size=crf_kernel_size, num_iter=crf_num_iter, zeta=crf_zeta, low=crf_value_low,
                          high=crf_value_high, form=mean_field)
        self.weights = loss_mil_weight, loss_crf_weight
        self.steps = loss_mil_step, loss_crf_step
        # wrong settings are found here, not in the first iteration
        self._refine(torch.zeros(1, 3, 1, 1), torch.zeros(1, 1, 1), torch.ones(1, 1, 1))

    def forward(self, student: Float[Tensor, 'B S S'], teacher: Float[Tensor, 'B S S'],
                image: Float[Tensor, 'B 3 c c'], box_in_crop: Float[Tensor, 'B 4'], crop_size: int,
                step: int, *, box_periods: Float[Tensor, 'B 2'] | None = None) -> dict[str, Tensor]:
        """Return ``loss_mil`` and ``loss_crf``.

        Args:
            student, teacher: logits.
            image: normalised colours for the mean field.
            box_in_crop: xyxy in pixels of the crop.
            step: the run's iteration from 0, for the warm-ups.
            box_periods: pixels of the crop after which the box comes again along x and y, where crops and box masks
                go on at the other side of the image; None for boxes that end at the image.
        """
        ours, theirs = student.float().sigmoid(), teacher.detach().float().sigmoid()
        side = ours.shape[-1]
        columns, rows = (box_profile(box_in_crop[:, axis], box_in_crop[:, axis + 2], crop_size, side,
                                     None if box_periods is None else box_periods[:, axis]) for axis in (0, 1))
        box_mask = rows[:, :, None] * columns[:, None, :]
        mil = box_mil_loss(ours, box_mask.amax(2), box_mask.amax(1)).sum() / (len(ours) + COUNT_EPS)
        colours = F.interpolate(image.float(), size=(side, side), mode='bilinear', align_corners=False)
        target = self._refine(colours, (ours.detach() + theirs) / 2, box_mask)
        crf = squared_dice_loss(ours, target).mean()
        growth = [min(1.0, step / steps) if steps else 1.0 for steps in self.steps]
        return dict(loss_mil=mil * self.weights[0] * growth[0], loss_crf=crf * self.weights[1] * growth[1])

    def _refine(self, colours: Tensor, probs: Tensor, box_mask: Tensor) -> Tensor:
        return mean_field(colours, probs, box_mask, **self.field)
