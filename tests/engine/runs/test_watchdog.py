"""A rank that dies or hangs ends the whole run, with its name, host and last iteration (gloo, two processes)."""
import os
import socket
import subprocess
import sys
import textwrap
import time

import pytest
from interrupted_runs import free_port

SCRIPT = textwrap.dedent('''
    import importlib.util, os, signal, sys, time
    import torch
    from mmengine.hooks import Hook
    spec = importlib.util.spec_from_file_location('toy', sys.argv[1])
    toy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(toy)
    from maskforge.engine import Runner
    from maskforge.registry import DATASETS, HOOKS

    FAULT, VICTIM = sys.argv[3], int(sys.argv[4])
    RANK = int(os.environ['RANK'])

    def fault(where):
        if RANK != VICTIM or not FAULT.endswith(where):
            return
        if FAULT.startswith('kill'):
            os.kill(os.getpid(), signal.SIGKILL)
        if FAULT.startswith('stop'):
            os.kill(os.getpid(), signal.SIGSTOP)
        if FAULT.startswith('raise'):
            raise ValueError('a fault of the test')
        if FAULT.startswith('memory'):
            raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 GiB')
        time.sleep(3600)

    class Faults(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if runner.iter == 4:
                time.sleep(3)  # the last heartbeat is of the loading before this step, a short phase
                fault('step')
        def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            fault('validation')

    @DATASETS.register_module()
    class SleepingDataset(toy.ToyDataset):
        def __getitem__(self, index):
            if len(self.seen) == 14:
                fault('data')
            return super().__getitem__(index)

    cfg = toy.toy_config(sys.argv[2], launcher='pytorch', env_cfg=dict(
        dist_cfg=dict(backend='gloo'), watchdog=dict(timeout=15, long_timeout=25, lost_after=20)))
    cfg['train_dataloader']['dataset']['type'] = 'SleepingDataset'
    runner = Runner.from_cfg(cfg)
    runner.register_hook(Faults())
    runner.train()
''')


@pytest.fixture
def start(tmp_path, toy_source):
    """``start(fault, victim)`` runs two processes, the victim with the fault; exit codes, outputs, seconds."""
    script = tmp_path / 'script.py'
    script.write_text(SCRIPT)

    def run(fault, victim):
        shared = dict(os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='-1', WORLD_SIZE='2',
                      MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free_port()))
        began = time.monotonic()
        processes = [subprocess.Popen(
            [sys.executable, str(script), toy_source, str(tmp_path / 'work'), fault, str(victim)],
            env=dict(shared, RANK=str(rank), LOCAL_RANK=str(rank)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True) for rank in (0, 1)]
        outputs = ['', '']
        outputs[1 - victim] = processes[1 - victim].communicate(timeout=120)[0]
        seconds = time.monotonic() - began
        if fault.startswith('stop'):
            processes[victim].kill()  # as the launcher does after its grace time
        outputs[victim] = processes[victim].communicate(timeout=60)[0]
        return [process.returncode for process in processes], outputs, seconds
    return run


# seconds decide here, which a busy machine stretches: judgement alone is in tests/engine/test_watchdog.py
pytestmark = pytest.mark.slow

FAULTS = [
    ('kill step', 1, (75, -9), 'rank 1 on host {host} has died or is frozen'),
    ('kill step', 0, (-9, 75), 'rank 0 on host {host} has died; the last that was seen of it is iteration'),
    ('stop step', 1, (75, -9), 'rank 1 on host {host} has died or is frozen'),
    ('raise step', 1, (75, 1),
     'rank 1 on host {host} failed after iteration 4 (loading of data): ValueError: a fault of the test'),
    ('memory step', 0, (1, 75),
     'rank 0 on host {host} failed after iteration 4 (loading of data): OutOfMemoryError: CUDA'),
    ('sleep data', 1, (75, 75), 'rank 1 on host {host} has not moved since iteration'),
    ('sleep validation', 1, (75, 75), 'rank 1 on host {host} has not moved since iteration 3 (validation, batch 1, in'),
]


@pytest.mark.parametrize(('fault', 'victim', 'codes', 'message'), FAULTS)
def test_the_others_end_and_say_why(start, tmp_path, fault, victim, codes, message):
    found, outputs, seconds = start(fault, victim)
    output = outputs[1 - victim]
    assert tuple(found) == codes, outputs
    assert message.format(host=socket.gethostname()) in output
    assert seconds < 100
    assert '[told by rank' in output
    stacks = list(tmp_path.rglob(f'watchdog_rank_{1 - victim}.txt'))
    assert len(stacks) == 1 and 'most recent call first' in stacks[0].read_text()
