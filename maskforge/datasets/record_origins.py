"""Which source and which file the records of any data set come from."""
from typing import Any

import numpy as np


def record_origins(dataset: Any) -> np.ndarray:
    """(N, 2) int32 source and file of every record, both counted from 0.

    Args:
        dataset: has ``record_origins()`` (data sets of several sources and the wrappers), or is one source of one file.
    """
    if hasattr(dataset, 'record_origins'):  # a user's own data set need not have it
        return dataset.record_origins()[:len(dataset)]
    return np.zeros((len(dataset), 2), np.int32)
