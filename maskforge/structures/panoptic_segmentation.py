"""A picture cut into segments without overlap: things, stuff and void."""
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PanopticSegmentation:
    """N segments of one image.

    Attributes:
        segments: (H, W) int32; 0 is void, k in 1 .. N is segment k.
        labels: (N,) int64 class index of each segment.
        scores: (N,) float32 in [0, 1], or None.

    Raises:
        ValueError: wrong dimensions, or a value above N.
    """

    segments: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.segments.ndim != 2 or self.labels.ndim != 1:
            raise ValueError(f'segments must be (H, W) and labels (N,), got {self.segments.shape} and '
                             f'{self.labels.shape}.')
        if self.scores is not None and len(self.scores) != len(self.labels):
            raise ValueError(f'{len(self.labels)} labels have {len(self.scores)} scores.')
        low, high = int(self.segments.min(initial=0)), int(self.segments.max(initial=0))
        if low < 0 or high > len(self):
            raise ValueError(f'segments holds values from {low} to {high}, but there are {len(self)} labels.')

    def __len__(self) -> int:
        return len(self.labels)

    def areas(self) -> np.ndarray:
        """(N,) int64 pixels of each segment."""
        return np.bincount(self.segments.ravel(), minlength=len(self) + 1)[1:]

    def masks(self) -> np.ndarray:
        """(N, H, W) bool."""
        return self.segments[None] == np.arange(1, len(self) + 1)[:, None, None]

    def select(self, kept: np.ndarray) -> 'PanopticSegmentation':
        """Return the segments where ``kept``, (N,) bool, is true, numbered anew; pixels of the others become void."""
        kept = np.asarray(kept, bool)
        table = np.concatenate([[0], np.cumsum(kept) * kept]).astype(np.int32)
        return PanopticSegmentation(table[self.segments], self.labels[kept],
                                    None if self.scores is None else self.scores[kept])
