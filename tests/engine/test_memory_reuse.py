"""Page faults of large tensors, counted in processes of their own: the setting cannot be taken back."""
import os
import subprocess
import sys

import pytest
import torch

pytestmark = [pytest.mark.skipif(not sys.platform.startswith('linux'), reason='glibc'),
              pytest.mark.skipif(torch.cuda.is_available(), reason='for the CPU')]

COUNT = '''
import resource, sys, torch
from maskforge.engine.memory_reuse import reuse_freed_memory
done = reuse_freed_memory() if sys.argv[1] == 'reuse' else False
def step():
    for size in (1_000_000, 3_000_000, 5_000_000):
        held = [torch.ones(size) for _ in range(3)]
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(int(done), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
'''


def count(mode, **variables):
    out = subprocess.run([sys.executable, '-c', COUNT, mode], env=dict(os.environ, **variables), text=True,
                         capture_output=True, check=True).stdout
    return tuple(map(int, out.split()))


def test_a_second_step_touches_no_new_pages():
    # the process to compare with maps every tensor; how much glibc does so by itself depends on what ran before
    (done, kept), (_, mapped) = count('reuse'), count('plain', MALLOC_MMAP_THRESHOLD_='131072')
    assert done == 1 and kept * 10 < mapped


def test_a_user_who_sets_the_allocator_is_left_alone():
    assert count('reuse', MALLOC_MMAP_THRESHOLD_='131072')[0] == 0
