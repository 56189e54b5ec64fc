"""The random generator of the sample that is being prepared.

Transforms draw from :func:`sample_rng` and from nothing else. The loader enters :func:`seeded_sample` around each
sample, so that its randomness depends on its seed alone: not on the worker, the epoch's history or other samples.
"""
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch

_CURRENT: ContextVar[np.random.Generator | None] = ContextVar('maskforge_sample_rng', default=None)


def sample_rng() -> np.random.Generator:
    """Return the current sample's generator; outside a loader, a fresh one drawn from NumPy's global state."""
    current = _CURRENT.get()
    return current if current is not None else np.random.default_rng(np.random.randint(0, 2**31))


@contextmanager
def seeded_sample(seed: int) -> Iterator[np.random.Generator]:
    """Make everything random inside the block a function of ``seed``; afterwards the global states are as before.

    Python's, NumPy's and torch's (CPU) global generators are seeded as well, for transforms of users that draw there.
    """
    saved = random.getstate(), np.random.get_state(), torch.get_rng_state()
    generator = np.random.default_rng(seed)
    token = _CURRENT.set(generator)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    # not torch.manual_seed: it also queues a call, with its traceback, for each kind of device that was never used
    torch.default_generator.manual_seed(seed)
    try:
        yield generator
    finally:
        _CURRENT.reset(token)
        random.setstate(saved[0])
        np.random.set_state(saved[1])
        torch.set_rng_state(saved[2])


def mark_randomness() -> Callable[[], None]:
    """Return a function that puts all generators back to where they are now, for another attempt at a sample."""
    generator = _CURRENT.get()
    place = None if generator is None else generator.bit_generator.state
    saved = random.getstate(), np.random.get_state(), torch.get_rng_state()

    def rewind() -> None:
        if generator is not None:
            generator.bit_generator.state = place
        random.setstate(saved[0])
        np.random.set_state(saved[1])
        torch.set_rng_state(saved[2])

    return rewind
