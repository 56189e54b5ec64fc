"""Workers leave signals to the main process, and end with it, even when a program still holds their loader."""
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from maskforge.engine.loader_workers import EndingDataLoader, init_worker

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


class Slow(torch.utils.data.Dataset):
    """The last record hangs."""

    def __init__(self):
        self.hangs = torch.multiprocessing.Event()

    def __len__(self):
        return 6

    def __getitem__(self, index):
        if index == 5:
            self.hangs.set()
            time.sleep(3600)
        return index


def test_workers_pass_over_signals_and_are_killed_when_they_hang(monkeypatch):
    monkeypatch.setattr(torch.utils.data.dataloader._utils, 'MP_STATUS_CHECK_INTERVAL', 0.5)  # how long torch waits
    records = Slow()
    batches = iter(EndingDataLoader(records, num_workers=1, prefetch_factor=1, worker_init_fn=init_worker))
    assert next(batches).item() == 0
    workers = batches._batches._workers
    for name in ('SIGTERM', 'SIGTERM', 'SIGUSR1', 'SIGINT'):
        os.kill(workers[0].pid, getattr(signal, name))
    assert [next(batches).item() for _ in range(4)] == [1, 2, 3, 4]
    assert records.hangs.wait(30)
    batches._batches._shutdown_workers()
    workers[0].join(30)
    assert workers[0].exitcode == -signal.SIGKILL
