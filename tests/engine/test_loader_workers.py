"""Workers of a loader that a program still holds when it ends."""
import subprocess
import sys

import pytest

HOLDS = '''
from maskforge.engine.data_loading import build_dataloader

if __name__ == '__main__':
    loader = build_dataloader(dict(dataset=dict(type='RepeatDataset', times=4, dataset=dict(
        type='SyntheticShapesDataset', num_images=4, size=32,
        pipeline=[dict(type='LoadAnnotations'), dict(type='PackDetInputs')])), batch_size=2, num_workers=2,
        persistent_workers={persistent}, sampler=dict(type='DefaultSampler', shuffle=True)), seed=0)
    batches = iter(loader)
    next(batches)
    print('end')
'''


@pytest.mark.parametrize('persistent', [True, False])
def test_a_program_that_holds_a_loader_ends(tmp_path, persistent):
    script = tmp_path / 'holds.py'
    script.write_text('import maskforge.datasets\n' + HOLDS.format(persistent=persistent))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ['end']), done.stderr
