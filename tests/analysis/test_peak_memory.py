"""The highest memory of a call."""
import sys

import numpy as np
import pytest

from maskforge.analysis.peak_memory import peak_memory

MEBIBYTE = 2**20


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_what_is_freed_in_the_call_counts():
    def run() -> None:
        np.ones(30 * MEBIBYTE, np.uint8)
        np.ones(10 * MEBIBYTE, np.uint8)

    assert 29 < peak_memory(run) < 36
    assert peak_memory(lambda: None) < 5
