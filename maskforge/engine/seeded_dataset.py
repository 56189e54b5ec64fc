"""The data set as the loader's workers see it: every sample is prepared under its own seed."""
from typing import Any

from torch.utils.data import Dataset

from maskforge.structures import SampleKey, seeded_sample

from .reading_board import ReadingBoard


class SeededDataset(Dataset):
    """Takes :class:`~maskforge.structures.SampleKey` and hands plain indices to the wrapped data set.

    Everything random in a sample (transforms, mosaics, a user's own data set) becomes a function of the key's seed:
    the same with any number of workers, after a resume, and different in every epoch. Attributes of the wrapped data
    set (``metainfo``, ``get_data_info``, ...) are reached through it.

    Args:
        dataset: a map-style data set.
        length: show only the first ``length`` records (``num_batch_per_epoch`` of MMEngine); None for all.
        workers: loader workers, whose present records ``board`` knows.
    """

    def __init__(self, dataset: Dataset, *, length: int | None = None, workers: int = 0) -> None:
        self.dataset = dataset
        self.length = length
        self.board = ReadingBoard(workers)

    def __len__(self) -> int:
        full = len(self.dataset)
        return full if self.length is None else min(full, self.length)

    def __getitem__(self, key: SampleKey | int) -> Any:
        if not isinstance(key, SampleKey):
            return self.dataset[key]
        self.board.begin(key.index)
        try:
            with seeded_sample(key.seed):
                return self.dataset[key.index]
        finally:
            self.board.end()

    def __getattr__(self, name: str) -> Any:
        # dunders stay ours (torch probes __getitems__); 'dataset' is absent only while being unpickled
        if name.startswith('__') or name == 'dataset':
            raise AttributeError(name)
        return getattr(self.dataset, name)
