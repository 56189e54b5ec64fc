"""Reading what launchers left in the environment."""
import os

import pytest
import torch

from maskforge.engine import distributed


@pytest.fixture
def group(monkeypatch):
    """Records the call that would start the process group."""
    calls = []
    monkeypatch.setattr(distributed.torch_dist, 'init_process_group', lambda **options: calls.append(options))
    monkeypatch.setattr(distributed.atexit, 'register', lambda function: None)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT', 'SLURM_LOCALID'):
        monkeypatch.delenv(name, raising=False)
    yield calls
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
        os.environ.pop(name, None)


@pytest.fixture
def slurm(group, monkeypatch):
    monkeypatch.setattr(distributed.shutil, 'which', lambda name: None)
    monkeypatch.setenv('SLURM_PROCID', '3')
    monkeypatch.setenv('SLURM_NTASKS', '4')
    monkeypatch.setenv('SLURM_NODELIST', 'gpu[03-05,9],login')
    return group


@pytest.mark.parametrize(('nodes', 'first'), [
    ('gpu[03-05,9],login', 'gpu03'), ('node7', 'node7'), ('a,b', 'a'), ('rack1-n[12]', 'rack1-n12')])
def test_first_machine(monkeypatch, nodes, first):
    monkeypatch.setattr(distributed.shutil, 'which', lambda name: None)
    assert distributed._first_host(nodes) == first


@pytest.mark.parametrize(('port', 'variable', 'expected'), [
    (29501, '29502', '29501'), (None, '29502', '29502'), (None, None, '29500'), ('29503', None, '29503')])
def test_port_of_slurm(slurm, monkeypatch, port, variable, expected):
    if variable:
        monkeypatch.setenv('MASTER_PORT', variable)
    distributed.init_dist('slurm', backend='nccl', port=port, timeout=30)
    assert os.environ['MASTER_PORT'] == expected
    assert (os.environ['RANK'], os.environ['WORLD_SIZE'], os.environ['MASTER_ADDR']) == ('3', '4', 'gpu03')
    assert slurm[0]['backend'] == 'gloo' and slurm[0]['timeout'].seconds == 30
    assert 'port' not in slurm[0]


@pytest.mark.parametrize(('port', 'notes'), [(29600, 0), (None, 0), (1234, 1)])
def test_torchrun_keeps_its_port(group, monkeypatch, port, notes):
    values = dict(RANK='0', WORLD_SIZE='2', LOCAL_RANK='0', MASTER_ADDR='localhost', MASTER_PORT='29600')
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    said = distributed.init_dist('pytorch', port=port)
    assert len(said) == notes and all('is not used: torchrun already chose 29600' in note for note in said)


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '2')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    with pytest.raises(ValueError, match='process 2 of this machine has no GPU: only 1 are visible'):
        distributed._take_gpu()
