"""A signal that reaches one of two processes: both save and leave with its code, and the run continues exactly."""
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from interrupted_runs import free_port

from maskforge.checkpoints import load_checkpoint

pytestmark = pytest.mark.slow
TOY_SOURCE = str(Path(__file__).with_name('conftest.py'))

SCRIPT = textwrap.dedent('''
    import importlib.util, os, signal, sys, time
    from mmengine.hooks import Hook
    spec = importlib.util.spec_from_file_location('toy', sys.argv[1])
    toy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(toy)
    from maskforge.engine import Runner

    WORK_DIR, SIGNALS, STAGE, ITERATION = sys.argv[2], sys.argv[3].split('+'), sys.argv[4], int(sys.argv[5])
    RANK = int(os.environ['RANK'])

    class Signals(Hook):
        """Rank 1 gets the signals; the validation of rank 0 would take an hour."""

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if STAGE == 'train' and RANK == 1 and runner.iter + 1 == ITERATION:
                for name in SIGNALS:
                    os.kill(os.getpid(), getattr(signal, name))
                    time.sleep(0.1)

        def before_val_iter(self, runner, batch_idx, data_batch=None):
            if STAGE != 'val' or runner.iter != ITERATION:
                return
            if RANK == 1 and batch_idx == 0:
                os.kill(os.getpid(), getattr(signal, SIGNALS[0]))
            end = time.monotonic() + 3600
            while RANK == 0 and not runner.interruption.requested and time.monotonic() < end:
                time.sleep(0.1)

    cfg = toy.toy_config(WORK_DIR, launcher='pytorch', resume='auto', env_cfg=dict(dist_cfg=dict(backend='gloo')))
    runner = Runner.from_cfg(cfg)
    if STAGE != 'none':
        runner.register_hook(Signals())
    runner.train()
''')


@pytest.fixture(scope='module')
def start(tmp_path_factory):
    """``start(work_dir, signals, stage, iteration)`` runs two processes; their exit codes and outputs."""
    script = tmp_path_factory.mktemp('script') / 'script.py'
    script.write_text(SCRIPT)

    def run(work_dir, signals='SIGTERM', stage='none', iteration=0):
        shared = dict(os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='-1', WORLD_SIZE='2',
                      MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free_port()))
        command = [sys.executable, str(script), TOY_SOURCE, str(work_dir), signals, stage, str(iteration)]
        processes = [subprocess.Popen(command, env=dict(shared, RANK=str(rank), LOCAL_RANK=str(rank)), text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for rank in (0, 1)]
        outputs = [process.communicate(timeout=300)[0] for process in processes]
        return [process.returncode for process in processes], outputs
    return run


def finish(start, work_dir):
    """Train to the end; returns the last weights."""
    codes, outputs = start(work_dir)
    assert codes == [0, 0], '\n'.join(text[-3000:] for text in outputs)
    return load_checkpoint(work_dir / 'epoch_3.pth')['state_dict']


@pytest.fixture(scope='module')
def whole(start, tmp_path_factory):
    """The last weights of an unbroken run."""
    return finish(start, tmp_path_factory.mktemp('whole'))


@pytest.mark.parametrize(('signals', 'stage', 'iteration'), [
    ('SIGTERM+SIGTERM+SIGUSR1', 'train', 1), ('SIGUSR1', 'val', 3)])
def test_both_leave_and_continue(start, whole, tmp_path, signals, stage, iteration):
    code = 128 + getattr(signal, signals.split('+')[0])
    codes, outputs = start(tmp_path, signals, stage, iteration)
    assert codes == [code, code], '\n'.join(text[-3000:] for text in outputs)
    assert f'saved {tmp_path / f"iter_{iteration}.pth"}; --resume continues there' in outputs[0]
    cut = finish(start, tmp_path)
    assert all(torch.equal(tensor, cut[name]) for name, tensor in whole.items())
