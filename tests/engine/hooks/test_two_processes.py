"""Hooks and optimizer wrapper agree over processes (gloo, two processes on this machine)."""
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = '''
import sys
from types import SimpleNamespace

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from maskforge.engine.hooks import CheckpointHook, NaNGuardHook
from maskforge.engine.optim import OptimWrapper

rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2)


def train(split):
    """Two windows of three; with `split`, the partial gradients are averaged in the middle of each."""
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Linear(3, 1))
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=3)
    wrapper.initialize_count_status(model, 0, 6)
    torch.manual_seed(10 + rank)
    for step in range(6):
        with wrapper.optim_context(model):
            loss = model(torch.randn(2, 3)).square().mean()
        wrapper.update_params(loss)
        if split:
            wrapper.synchronize_partial_gradients()
    return model.module.weight.detach()


torch.testing.assert_close(train(False), train(True))
if rank == 0:
    print('gradients agree', flush=True)

runner = SimpleNamespace(iter=0, epoch=0, work_dir=folder, logger=None)
guard = NaNGuardHook()
for iteration in range(3):
    runner.iter = iteration
    bad = rank == 1 and iteration == 1
    try:
        guard.after_train_iter(runner, iteration, {}, dict(loss_mask=torch.tensor(float('nan') if bad else 1.0)))
    except FloatingPointError as error:
        print(f'rank {rank}: {error}', flush=True)

runner.call_hook = lambda name: None


def save_checkpoint(*args, **kwargs):
    if rank == 0:
        raise OSError(28, 'No space left on device')


runner.save_checkpoint = save_checkpoint
try:
    CheckpointHook()._write(runner, __import__('pathlib').Path(folder) / 'epoch_1.pth', {}, lambda: None)
except OSError as error:
    print(f'rank {rank}: {error}', flush=True)
distributed.destroy_process_group()
'''


def test_two_processes(tmp_path):
    environment = dict(os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='-1')
    (tmp_path / 'script.py').write_text(SCRIPT)
    processes = [subprocess.Popen([sys.executable, str(tmp_path / 'script.py'), str(rank), str(tmp_path)],
                                  env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                 for rank in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert 'gradients agree' in outputs[0]
    assert 'rank 0: A loss is not finite at iteration 2 (epoch 1) on rank 1' in outputs[0]
    assert 'rank 1: loss_mask is nan at iteration 2 (epoch 1) on rank 1.' in outputs[1]
    for rank in range(2):
        assert f'rank {rank}: The checkpoint {Path(tmp_path) / "epoch_1.pth"} could not be written' in outputs[rank]
