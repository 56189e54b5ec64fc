"""What a sampler hands to the data loader's workers: which record, and the seed of everything random done to it."""
from typing import NamedTuple


class SampleKey(NamedTuple):
    """One draw of a sampler.

    Attributes:
        index: position of the record in the data set.
        seed: seed of the sample's own generator, in [0, 2**63); a function of (run seed, epoch, position), so a
            resumed run draws what the unbroken run would have drawn, with any number of workers.
    """

    index: int
    seed: int
