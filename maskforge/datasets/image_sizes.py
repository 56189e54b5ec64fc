"""Image sizes of any data set, without reading images."""
from typing import Any

import numpy as np


def image_sizes(dataset: Any) -> np.ndarray:
    """(N, 2) int32 height and width of every record.

    Args:
        dataset: has ``image_sizes()``, or MMEngine's ``get_data_info(index)`` with ``height`` and ``width``.

    Raises:
        ValueError: the records do not know their size.
    """
    if hasattr(dataset, 'image_sizes'):  # our own; a user's data set need not have it
        return dataset.image_sizes()
    try:
        records = [dataset.get_data_info(index) for index in range(len(dataset))]
        sizes = [(record['height'], record['width']) for record in records]
    except (AttributeError, KeyError) as error:
        raise ValueError(f'{type(dataset).__name__} does not tell the sizes of its images ({error}); its '
                         "get_data_info(index) must return 'height' and 'width' for aspect-ratio grouping.") from error
    return np.array(sizes, np.int32).reshape(-1, 2)
