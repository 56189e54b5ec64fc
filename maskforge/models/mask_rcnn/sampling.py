"""Which matched boxes a step trains on (Ren et al. 2015, section 3.1.3)."""
import torch
from jaxtyping import Int
from torch import Tensor

from maskforge.models.mask_rcnn.matching import BACKGROUND
from maskforge.registry import TASK_UTILS


@TASK_UTILS.register_module()
class RandomSampler:
    """A random subset with a bounded share of positives. Arguments and rules are MMDetection's.

    Args:
        num: boxes per image.
        pos_fraction: at most this share is positive; negatives fill the rest.
        neg_pos_ub: at most this many negatives per positive (per one where there is none); -1: no bound.
        add_gt_as_proposals: the head adds the true boxes to the proposals before sampling.
    """

    def __init__(self, num: int, pos_fraction: float | int, *, neg_pos_ub: float | int = -1,
                 add_gt_as_proposals: bool = True) -> None:
        self.num, self.pos_fraction = num, pos_fraction
        self.neg_pos_ub, self.add_gt_as_proposals = neg_pos_ub, add_gt_as_proposals

    def sample(self, matches: Int[Tensor, ' N']) -> tuple[Int[Tensor, ' P'], Int[Tensor, ' Q']]:
        """Return the indices of the chosen positives and negatives.

        Args:
            matches: as :meth:`MaxIoUAssigner.assign` returns them.
        """
        positive = _choose((matches >= 0).nonzero()[:, 0], int(self.num * self.pos_fraction))
        limit = self.num - len(positive)
        if self.neg_pos_ub >= 0:
            limit = min(limit, int(self.neg_pos_ub * max(1, len(positive))))
        return positive, _choose((matches == BACKGROUND).nonzero()[:, 0], limit)


def _choose(indices: Tensor, count: int) -> Tensor:
    if len(indices) <= count:
        return indices
    return indices[torch.randperm(len(indices), device=indices.device)[:count]]
