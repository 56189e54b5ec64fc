"""Transforms that combine several records (copy-paste, mosaic and the like)."""
import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from maskforge.registry import DATASETS

from .index_map import IndexMap
from .pipeline import build_transform


@DATASETS.register_module()
class MultiImageMixDataset(IndexMap):
    """Runs a second pipeline whose transforms may ask for further records of the same data set.

    A transform with ``get_indexes(dataset) -> int | list[int]`` (or ``get_indices``) finds those records, after the
    data set's own pipeline, in ``results['mix_results']``.

    Args:
        dataset: config or data set; its own pipeline ends before packing.
        pipeline: configs or callables.
        skip_type_keys: types of transforms that are left out, for example in the last epochs.
        max_refetch: how often new records are drawn where one of them, or a transform, gives None.
        lazy_init: read annotations only when they are first asked for.
    """

    def __init__(self, dataset: dict | Any, pipeline: Sequence[dict | Callable],
                 skip_type_keys: Sequence[str] | None = None, max_refetch: int = 15, lazy_init: bool = False) -> None:
        self.max_refetch = max_refetch
        self.transforms = [(_type_of(transform), build_transform(transform)) for transform in pipeline]
        self.update_skip_type_keys(skip_type_keys or ())
        super().__init__([dataset], lazy_init=lazy_init)

    def update_skip_type_keys(self, skip_type_keys: Sequence[str]) -> None:
        """Leave out the transforms of these types from now on.

        Raises:
            ValueError: the pipeline has no transform of such a type.
        """
        known = [name for name, _ in self.transforms]
        for key in skip_type_keys:
            if key not in known:
                raise ValueError(f"skip_type_keys has '{key}', but the pipeline holds {', '.join(known)}.")
        self.skip_type_keys = tuple(skip_type_keys)

    def _build_map(self) -> tuple[np.ndarray, np.ndarray]:
        indices = np.arange(len(self.datasets[0]))
        return np.zeros_like(indices), indices

    def __getitem__(self, idx: int) -> Any:
        results = copy.deepcopy(super().__getitem__(idx))
        for name, transform in self.transforms:
            if name not in self.skip_type_keys:
                results = self._apply(name, transform, results)
        return results

    def _apply(self, name: str, transform: Callable, results: dict) -> dict:
        """Apply one transform, with new partners until it succeeds."""
        # MMDetection's contract for mixing transforms, which has gone by both names
        choose = getattr(transform, 'get_indexes', None) or getattr(transform, 'get_indices', None)
        attempts = self.max_refetch if choose else 1
        for _ in range(attempts):
            attempt = copy.deepcopy(results)
            if choose:
                attempt['mix_results'] = self._partners(choose)
                if any(partner is None for partner in attempt['mix_results']):
                    continue
            attempt = transform(attempt)
            if attempt is not None:
                attempt.pop('mix_results', None)
                return attempt
        raise ValueError(f'{name} gave None {attempts} times in a row for {results.get("img_path", "a record")}.')

    def _partners(self, choose: Callable[[Any], int | Sequence[int]]) -> list[Any]:
        indices = choose(self.datasets[0])
        indices = [indices] if isinstance(indices, (int, np.integer)) else indices
        return [copy.deepcopy(self.datasets[0][int(index)]) for index in indices]


def _type_of(transform: dict | Callable) -> str:
    return str(transform['type']) if isinstance(transform, dict) else type(transform).__name__
