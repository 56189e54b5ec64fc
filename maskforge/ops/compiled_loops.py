"""Plain loops that numba compiles at first use (extra ``cpu``).

Compiled code is kept in numba's cache: beside the source, in the user's cache folder where that is not writable, or in
``NUMBA_CACHE_DIR``.
"""
import warnings

import numba
import numpy as np

# sums over channels may be reordered, or they would not run on vectors; infinities and NaNs stay what they are
OPTIONS = dict(nogil=True, error_model='numpy', fastmath={'reassoc', 'contract', 'nsz'})
#: an index of this type is never negative, which saves numba's test for one
at = np.uintp


def compiled(function):
    """``function`` for numba to compile at its first call; without a writable folder anew in every process."""
    try:
        return numba.njit(cache=True, **OPTIONS)(function)
    except RuntimeError as error:  # "no locator available"
        warnings.warn(f'every process compiles its own CPU kernels: {error}. Set NUMBA_CACHE_DIR to a folder that can '
                      f'be written.', RuntimeWarning, stacklevel=2)
        return numba.njit(**OPTIONS)(function)
