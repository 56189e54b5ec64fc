"""One permutation after another, cut anywhere."""
from collections.abc import Sequence

import numpy as np


def endless_order(members: np.ndarray, first: int, count: int, *, seed: Sequence[int], shuffle: bool) -> np.ndarray:
    """Return (count,) members at positions ``first`` ... of an endless stream of passes through them.

    Args:
        members: (M,) what is drawn from; empty only if ``count`` is 0.
        seed: not negative; the stream depends on it alone, so it can be taken up anywhere.
        shuffle: a new permutation every pass, else the given order.
    """
    if count == 0:
        return members[:0]
    size = len(members)
    passes = range(first // size, (first + count - 1) // size + 1)
    orders = [np.random.default_rng((*seed, number)).permutation(members) if shuffle else members for number in passes]
    start = first % size
    return np.concatenate(orders)[start:start + count]
