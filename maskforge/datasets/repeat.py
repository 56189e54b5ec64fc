"""A data set several times over, and repeat-factor sampling."""
from typing import Any

import numpy as np

from maskforge.registry import DATASETS

from .index_map import IndexMap


@DATASETS.register_module()
class RepeatDataset(IndexMap):
    """A data set ``times`` times over, to have fewer and longer epochs.

    Args:
        dataset: config or data set.
        times: a positive integer.
        lazy_init: read annotations only when they are first asked for.
    """

    def __init__(self, dataset: dict | Any, times: int, lazy_init: bool = False) -> None:
        if not isinstance(times, int) or times < 1:
            raise ValueError(f'RepeatDataset: times={times!r}; a positive integer is needed.')
        self.times = times
        super().__init__([dataset], lazy_init=lazy_init)

    def _build_map(self) -> tuple[np.ndarray, np.ndarray]:
        indices = np.tile(np.arange(len(self.datasets[0])), self.times)
        return np.zeros_like(indices), indices


@DATASETS.register_module()
class ClassBalancedDataset(IndexMap):
    """Repeats images of rare classes (Gupta et al., LVIS, 2019, appendix B.3: repeat factor sampling).

    With f(c) the share of images that show class c, image I is repeated ``ceil(max_c in I max(1, sqrt(t / f(c))))``
    times. Images without objects are kept once.

    Args:
        dataset: config or data set with ``get_cat_ids(index)``.
        oversample_thr: t, in [0, 1]; classes that at least this share of the images shows are not repeated.
        lazy_init: read annotations only when they are first asked for.
    """

    def __init__(self, dataset: dict | Any, oversample_thr: float, lazy_init: bool = False) -> None:
        if not 0 <= oversample_thr <= 1:
            raise ValueError(f'ClassBalancedDataset: oversample_thr={oversample_thr!r}; a share in [0, 1] is needed.')
        self.oversample_thr = oversample_thr
        super().__init__([dataset], lazy_init=lazy_init)

    def repeat_factors(self) -> np.ndarray:
        """(N,) float64 repeat factor of every image of the wrapped data set, before rounding up."""
        dataset = self.datasets[0]
        labels = [np.unique(np.asarray(dataset.get_cat_ids(index), np.int64)) for index in range(len(dataset))]
        counts = np.bincount(np.concatenate(labels)) if labels else np.zeros(0)
        with np.errstate(divide='ignore'):
            of_class = np.maximum(1, np.sqrt(self.oversample_thr * len(dataset) / counts))
        return np.array([of_class[own].max(initial=1.0) for own in labels])

    def _build_map(self) -> tuple[np.ndarray, np.ndarray]:
        factors = np.ceil(self.repeat_factors()).astype(np.int64)
        indices = np.repeat(np.arange(len(factors)), factors)
        return np.zeros_like(indices), indices
