"""Panoptic segments: every pixel goes to the query that claims it most, and segments that lost too much are dropped.

Cheng et al., MaskFormer (NeurIPS 2021), section 3.4, with the thresholds of the official release.
"""
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from maskforge.structures import PanopticSegmentation


class PanopticStrips:
    """Makes the panoptic segmentation of one image from strips of rows.

    Legend: Q queries, P of them that are kept.

    Args:
        class_logits: no-object last.
        size: (height, width) of the image.
        is_thing: of every class, whether its segments are told apart.
        object_mask_threshold: a query needs a higher score.
        overlap_threshold: least part of its mask (probability from 0.5) that a segment must win.
        keep_no_object: a query whose best class is "no object" is judged by its best real class.
    """

    def __init__(self, class_logits: Float[Tensor, 'Q K+1'], size: Sequence[int], *, is_thing: Sequence[bool],
                 object_mask_threshold: float | int, overlap_threshold: float | int, keep_no_object: bool) -> None:
        probs = class_logits.float().softmax(-1)
        classes = probs.shape[-1] - 1
        scores, labels = (probs[:, :-1] if keep_no_object else probs).max(-1)
        self.queries = ((labels != classes) & (scores > object_mask_threshold)).nonzero()[:, 0]
        self._scores, self._labels = scores[self.queries], labels[self.queries].tolist()
        self._is_thing, self._overlap_threshold = tuple(is_thing), overlap_threshold
        # 0, or 1 + the position among the kept queries
        self._owners = np.zeros(tuple(size), np.int32)
        self._won, self._claimed = (torch.zeros(len(self.queries), dtype=torch.long, device=probs.device)
                                    for _ in range(2))

    def add(self, low: int, logits: Float[Tensor, 'P h W'], probs: Float[Tensor, 'P h W']) -> None:
        """Take the strip whose first row is ``low``."""
        if not len(self.queries):
            return
        owners = (probs * self._scores[:, None, None]).max(0).indices
        self._won += torch.bincount(owners.flatten(), minlength=len(self.queries))
        self._claimed += (probs >= 0.5).view(torch.uint8).sum(2, dtype=torch.int32).sum(1)
        sure = probs.gather(0, owners[None])[0] >= 0.5
        self._owners[low:low + len(owners)] = ((owners + 1) * sure).cpu().numpy()

    def result(self) -> PanopticSegmentation:
        """Return the segments, numbered in the order of their (first) queries.

        A stuff class has one segment, whose score is the best of its queries'.
        """
        inside = np.bincount(self._owners.ravel(), minlength=len(self.queries) + 1)[1:]
        table, labels, scores = self._number(inside)
        return PanopticSegmentation(table[self._owners], np.array(labels, np.int64), np.array(scores, np.float32))

    def _number(self, inside: Int64[np.ndarray, ' P']) -> tuple[np.ndarray, list[int], list[float]]:
        """Return the segment number of every owner, and every segment's label and score."""
        table = np.zeros(len(self.queries) + 1, np.int32)
        labels, scores, of_stuff = [], [], {}
        counts = zip(self._labels, self._scores.tolist(), self._won.tolist(), self._claimed.tolist(), inside.tolist())
        for position, (label, score, won, claimed, visible) in enumerate(counts, 1):
            if not visible or won / claimed < self._overlap_threshold:
                continue
            if label in of_stuff:
                number = of_stuff[label]
                scores[number - 1] = max(scores[number - 1], score)
            else:
                labels.append(label)
                scores.append(score)
                number = len(labels)
                if not self._is_thing[label]:
                    of_stuff[label] = number
            table[position] = number
        return table, labels, scores
