"""Data sets made of other data sets: an index leads to a part and an index there."""
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from maskforge.registry import DATASETS

from .image_sizes import image_sizes
from .record_faults import RecordFaults
from .record_origins import record_origins


class IndexMap:
    """Base of the wrappers; a subclass says in ``_build_map`` where each index leads.

    Args:
        datasets: configs, or data sets (our own, MMEngine's or a user's; they may be wrappers as well).
        lazy_init: read the parts' annotations only when they are first asked for.
    """

    def __init__(self, datasets: Sequence[dict | Any], *, lazy_init: bool = False) -> None:
        self.datasets = [build_dataset(dataset) for dataset in datasets]
        self._parts: np.ndarray | None = None
        self._indices: np.ndarray | None = None
        if not lazy_init:
            self.full_init()

    @property
    def metainfo(self) -> dict:
        """Meta information of the first part (a user's own data set may have none)."""
        return getattr(self.datasets[0], 'metainfo', {})

    def full_init(self) -> None:
        """Read the parts' annotations and lay out the indices."""
        if self._indices is not None:
            return
        for dataset in self.datasets:
            if hasattr(dataset, 'full_init'):  # a plain torch data set of a user has none
                dataset.full_init()
        self._parts, self._indices = self._build_map()

    def _build_map(self) -> tuple[np.ndarray, np.ndarray]:
        """Return for every index the part (int64) and the index in that part (int64)."""
        raise NotImplementedError

    def __len__(self) -> int:
        self.full_init()
        return len(self._indices)

    def __getitem__(self, idx: int) -> Any:
        dataset, index = self.locate(idx)
        return dataset[index]

    def locate(self, idx: int) -> tuple[Any, int]:
        """The part and the index in it that belong to an index."""
        self.full_init()
        return self.datasets[self._parts[idx]], int(self._indices[idx])

    def get_data_info(self, idx: int) -> dict:
        """The record before the pipeline."""
        dataset, index = self.locate(idx)
        return dataset.get_data_info(index)

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels in the record."""
        dataset, index = self.locate(idx)
        return dataset.get_cat_ids(index)

    def image_sizes(self) -> np.ndarray:
        """(N, 2) int32 height and width of every record."""
        return self._gather(image_sizes)

    def record_origins(self) -> np.ndarray:
        """(N, 2) int32 source and file of every record; those of each part follow those of the part before."""
        counts = np.zeros(2, np.int32)

        def of_part(part: Any) -> np.ndarray:
            nonlocal counts
            origins = record_origins(part) + counts
            counts = origins.max(0, initial=-1) + 1
            return origins.astype(np.int32)

        return self._gather(of_part)

    def broken_records(self) -> list[int]:
        """Indices whose record could not be read so far."""
        flags = self._gather(lambda part: np.isin(np.arange(len(part)), part.broken_records()))
        return np.flatnonzero(flags).tolist()

    def record_faults(self) -> list[RecordFaults]:
        """What the engine reports at the end of an epoch, of all parts (a user's own data set may have none)."""
        self.full_init()
        return [faults for dataset in self.datasets if hasattr(dataset, 'record_faults')
                for faults in dataset.record_faults()]

    def _gather(self, ask: Callable[[Any], np.ndarray]) -> np.ndarray:
        """Ask every part for one value a record, and lay the answers out by our own indices."""
        self.full_init()
        answers = [ask(dataset) for dataset in self.datasets]
        starts = np.cumsum([0] + [len(answer) for answer in answers])
        return np.concatenate(answers)[starts[self._parts] + self._indices]


def build_dataset(dataset: dict | Any) -> Any:
    """Build a data set from its config; an object with a length and indices is returned as it is.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(dataset, dict):
        return DATASETS.build(dataset)
    if not (hasattr(dataset, '__getitem__') and hasattr(dataset, '__len__')) or isinstance(dataset, (str, Sequence)):
        raise TypeError(f'a data set or its config (a dict with a type) is needed; got {dataset!r}.')
    return dataset
