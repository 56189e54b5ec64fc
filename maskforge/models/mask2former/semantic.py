"""The semantic map: every query's classes, weighted by its mask."""
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from mmengine.structures import PixelData
from torch import Tensor


class SemanticStrips:
    """Makes the semantic map of one image from strips of rows (Cheng et al., MaskFormer, section 3.4).

    Args:
        class_logits: no-object last.
        size: (height, width) of the map.
    """

    def __init__(self, class_logits: Float[Tensor, 'Q K+1'], size: Sequence[int]) -> None:
        self._shares = class_logits.float().softmax(-1)[:, :-1].T.contiguous()
        self.queries = torch.arange(len(class_logits), device=class_logits.device)
        self._map = np.zeros(tuple(size), np.uint8 if len(self._shares) <= 256 else np.int16)

    def class_scores(self, probs: Float[Tensor, 'Q h W']) -> Float[Tensor, 'K h W']:
        """Return the score of every class at every pixel of a strip."""
        # one product per row of pixels: its rounding does not depend on the height of the strip
        return torch.matmul(self._shares, probs.transpose(0, 1)).transpose(0, 1)

    def add(self, low: int, logits: Float[Tensor, 'Q h W'], probs: Float[Tensor, 'Q h W']) -> None:
        """Take the strip whose first row is ``low``."""
        self.add_scores(low, self.class_scores(probs))

    def add_scores(self, low: int, scores: Float[Tensor, 'K h W']) -> None:
        """Take the class scores of a strip."""
        self._map[low:low + scores.shape[1]] = scores.max(0).indices.cpu().numpy()

    def result(self) -> PixelData:
        """Return ``sem_seg`` (1, H, W): class indices, uint8 or (with more than 256 classes) int16."""
        return PixelData(sem_seg=torch.from_numpy(self._map)[None])
