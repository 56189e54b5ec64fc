"""Seeds of single samples, from the run's seed, the epoch and the position in the global order."""
import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def sample_seeds(seed: int, epoch: int, positions: np.ndarray) -> np.ndarray:
    """Return (N,) int64 seeds in [0, 2**63), stable over platforms and versions.

    Each input is added and mixed in turn with the finaliser of SplitMix64 (Steele et al. 2014), so that neighbouring
    positions, epochs and seeds give unrelated values.
    """
    state = _mix(_as_uint64(seed))
    state = _mix(state ^ _mix(_as_uint64(epoch) + _GOLDEN))
    positions = np.asarray(positions, np.int64).astype(np.uint64)
    return (_mix(state ^ _mix(positions + _GOLDEN)) >> np.uint64(1)).astype(np.int64)


def _as_uint64(value: int) -> np.ndarray:
    return np.array([value & 0xFFFFFFFFFFFFFFFF], np.uint64)


def _mix(state: np.ndarray) -> np.ndarray:
    """SplitMix64's output function on uint64 arrays (wrapping arithmetic is intended)."""
    state = state + _GOLDEN
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
