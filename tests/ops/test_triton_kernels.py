import os
import subprocess
import sys
from pathlib import Path

import pytest

from maskforge.ops.kernel_trial import HAS_TRITON


@pytest.mark.skipif(not HAS_TRITON, reason='needs triton')
def test_triton_kernels_in_the_interpreter():
    script = Path(__file__).with_name('triton_kernels.py')
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True,
                          env=dict(os.environ, TRITON_INTERPRET='1', OMP_NUM_THREADS='1'))
    assert done.returncode == 0, done.stdout + done.stderr
