"""The highest memory of a call."""
import mmap
import sys

import pytest

from maskforge.analysis.peak_memory import peak_memory

MEBIBYTE = 2**20


def touch(mebibytes: int) -> None:
    """Use memory and give it back to the system; an allocator that was told to keep what is freed would not."""
    with mmap.mmap(-1, mebibytes * MEBIBYTE) as block:
        for place in range(0, len(block), mmap.PAGESIZE):
            block[place] = 1


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_what_is_freed_in_the_call_counts():
    def run() -> None:
        touch(30)
        touch(10)

    assert 29 < peak_memory(run) < 36
    assert peak_memory(lambda: None) < 5
