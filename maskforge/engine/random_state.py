"""The states of the global random generators: taken, put back, and kept apart for a while."""
import random
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
import torch


def checked_seed(seed: Any) -> int:
    """Return the seed of a config or checkpoint.

    Raises:
        ValueError: numpy takes no such seed.
    """
    if not isinstance(seed, Integral) or not 0 <= seed < 2**32:
        raise ValueError(f'randomness.seed must be a whole number from 0 to 2**32 - 1, got {seed!r:.60}.')
    return int(seed)


def capture_random_state() -> dict[str, Any]:
    """Return the states of Python's, NumPy's and torch's generators (CPU and current GPU) as plain tensors."""
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()
    state = dict(python=dict(version=version, words=torch.tensor(words, dtype=torch.int64), gauss=gauss),
                 numpy=dict(kind=kind, keys=torch.from_numpy(keys.astype(np.int64)), position=int(position),
                            has_gauss=int(has_gauss), cached=float(cached)),
                 torch=torch.get_rng_state())
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Put back what :func:`capture_random_state` took."""
    python, numpy = state['python'], state['numpy']
    random.setstate((python['version'], tuple(python['words'].tolist()), python['gauss']))
    np.random.set_state((numpy['kind'], numpy['keys'].cpu().numpy().astype(np.uint32), numpy['position'],
                         numpy['has_gauss'], numpy['cached']))
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


@contextmanager
def private_randomness(seed: int | None = None) -> Iterator[None]:
    """Whatever is drawn inside leaves the generators as they were; with ``seed`` it is also the same every time."""
    state = capture_random_state()
    if seed is not None:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        _seed_torch(seed)
    try:
        yield
    finally:
        restore_random_state(state)


def _seed_torch(seed: int) -> None:
    # torch.manual_seed also leaves a note for every kind of device that was never used, at each call
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.manual_seed(seed)
