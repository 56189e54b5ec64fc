"""Which true box each reference box stands for (Ren et al. 2015, section 3.1.2)."""
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from maskforge.ops import box_iof, box_iou
from maskforge.registry import TASK_UTILS

BACKGROUND, IGNORED = -1, -2
MAX_PAIRS = 2**26  # float32 overlaps held at once: 256 MiB


@TASK_UTILS.register_module()
class MaxIoUAssigner:
    """Matches by overlap. Arguments and rules are MMDetection's.

    Args:
        pos_iou_thr: a box whose best overlap is at least this is matched to that true box.
        neg_iou_thr: background below it; or a pair (low, high), background in [low, high).
        min_pos_iou: least overlap of a low-quality match.
        gt_max_assign_all: with equal best overlaps, all those boxes are low-quality matches, not only the first.
        ignore_iof_thr: boxes covered by a crowd or ignored region to more than this share are left out; off at 0 or
            below. Unlike MMDetection this holds in images without other objects, too.
        ignore_wrt_candidates: the share is of the box; False: of the region.
        match_low_quality: every true box keeps its best reference box, even below ``pos_iou_thr``.
    """

    def __init__(self, pos_iou_thr: float | int, neg_iou_thr: float | int | Sequence[float | int], *,
                 min_pos_iou: float | int = 0.0, gt_max_assign_all: bool = True, ignore_iof_thr: float | int = -1,
                 ignore_wrt_candidates: bool = True, match_low_quality: bool = True) -> None:
        self.pos_iou_thr, self.min_pos_iou = pos_iou_thr, min_pos_iou
        self.neg_range = (0.0, neg_iou_thr) if isinstance(neg_iou_thr, (int, float)) else tuple(neg_iou_thr)
        self.gt_max_assign_all, self.match_low_quality = gt_max_assign_all, match_low_quality
        self.ignore_iof_thr, self.ignore_wrt_candidates = ignore_iof_thr, ignore_wrt_candidates

    @torch.no_grad()
    def assign(self, boxes: Float[Tensor, 'N 4'], truth: Float[Tensor, 'M 4'],
               ignored: Float[Tensor, '_ 4'] | None = None) -> Int[Tensor, ' N']:
        """Return for each box the index of its true box, or BACKGROUND (-1), or IGNORED (-2): not used at all.

        Memory is bounded: many pairs are compared a slice of ``boxes`` at a time.
        """
        if not (len(truth) and len(boxes)):
            matches = torch.full((len(boxes),), BACKGROUND, device=boxes.device)
        else:
            matches = self._match(boxes.float(), truth.float())
        covered = self._covered(boxes, ignored)
        return matches if covered is None else matches.masked_fill(covered, IGNORED)

    def _match(self, boxes: Tensor, truth: Tensor) -> Tensor:
        # overlaps are true boxes x reference boxes
        chunks = boxes.split(max(MAX_PAIRS // len(truth), 1))
        # one slice is the usual case: its overlaps are kept for the second look
        overlaps = [box_iou(truth, chunks[0])] if len(chunks) == 1 else (box_iou(truth, chunk) for chunk in chunks)
        best = [chunk.max(dim=0) for chunk in overlaps]
        value, index = (torch.cat(parts) for parts in zip(*((b.values, b.indices) for b in best)))
        matches = torch.full_like(index, IGNORED)
        matches[(value >= self.neg_range[0]) & (value < self.neg_range[1])] = BACKGROUND
        matches = index.where(value >= self.pos_iou_thr, matches)
        if self.match_low_quality:
            kept = overlaps if isinstance(overlaps, list) else [box_iou(truth, chunk) for chunk in chunks]
            self._add_low_quality(matches, kept)
        return matches

    def _add_low_quality(self, matches: Tensor, overlaps: list[Tensor]) -> None:
        """Give every true box its best boxes; of several true boxes that claim one, the last gets it."""
        best = torch.stack([chunk.max(dim=1).values for chunk in overlaps]).max(dim=0).values
        start = 0
        taken = torch.zeros_like(best, dtype=torch.bool)
        for chunk in overlaps:
            claims = (chunk == best[:, None]) & (best >= self.min_pos_iou)[:, None]
            if not self.gt_max_assign_all:
                claims &= (claims.cumsum(dim=1) == 1) & ~taken[:, None]
                taken |= claims.any(dim=1)
            order = torch.arange(1, len(best) + 1, device=chunk.device)[:, None]
            last = (claims * order).max(dim=0).values
            part = matches[start:start + chunk.shape[1]]
            part.copy_((last - 1).where(last > 0, part))
            start += chunk.shape[1]

    def _covered(self, boxes: Tensor, ignored: Tensor | None) -> Tensor | None:
        if self.ignore_iof_thr <= 0 or ignored is None or not len(ignored) or not len(boxes):
            return None
        if self.ignore_wrt_candidates:
            share = box_iof(boxes.float(), ignored.float()).max(dim=1).values
        else:
            share = box_iof(ignored.float(), boxes.float()).max(dim=0).values
        return share > self.ignore_iof_thr
