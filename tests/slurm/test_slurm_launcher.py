"""slurm_train.sh under a real Slurm: one node, two tasks on gloo."""
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
START = ROOT / 'tests' / 'slurm' / 'start_slurm.sh'
TOY = ROOT / 'tests' / 'e2e' / 'toy_mask_rcnn.py'

PROBE = '''
"""Writes what the process group of a task was made of."""
import os
from pathlib import Path

import torch.distributed as dist
from mmengine.hooks import Hook

from maskforge.registry import HOOKS


@HOOKS.register_module()
class SlurmProbeHook(Hook):
    def before_run(self, runner):
        facts = [dist.get_rank(), dist.get_world_size(), dist.get_backend(), os.environ['MASTER_PORT']]
        Path(runner.work_dir, f'rank_{facts[0]}.txt').write_text(' '.join(map(str, facts)))
'''


@pytest.fixture(scope='module')
def slurm(tmp_path_factory):
    """The configuration file of a running Slurm."""
    missing = [name for name in ('srun', 'sinfo', 'slurmctld', 'slurmd', 'munged')
               if shutil.which(name, path=f'{os.environ["PATH"]}:/usr/sbin') is None]
    if missing:
        pytest.skip(f'no Slurm here ({", ".join(missing)} missing): apt-get install slurm-wlm munge')
    if os.geteuid() != 0:
        pytest.skip('starting a Slurm needs root')
    folder = tmp_path_factory.mktemp('slurm')
    # munged refuses sockets in folders that others may write to or cannot enter
    folder.parent.chmod(0o755)
    folder.parents[1].chmod(0o755)
    environment = {**os.environ, 'SLURMCTLD_PORT': str(free_port()), 'SLURMD_PORT': str(free_port())}
    done = subprocess.run(['sh', str(START), 'start', str(folder)], capture_output=True, text=True, check=False,
                          env=environment, timeout=120)
    if done.returncode != 0:
        subprocess.run(['sh', str(START), 'stop', str(folder)], check=False)
        pytest.fail(f'Slurm did not start: {done.stderr}')
    yield done.stdout.split()[-1]
    subprocess.run(['sh', str(START), 'stop', str(folder)], check=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize('how', ['option', 'config'])
@pytest.mark.parametrize('shell', ['sh', 'bash'])
def test_two_tasks_with_a_port(slurm, tmp_path, how, shell):
    port = str(free_port())
    (tmp_path / 'slurm_probe.py').write_text(PROBE)
    lines = [f"_base_ = '{TOY}'", "custom_imports = dict(imports=['slurm_probe'])",
             "custom_hooks = [dict(type='SlurmProbeHook')]", 'train_cfg = dict(max_epochs=1, val_interval=1)',
             'param_scheduler = []']
    if how == 'config':
        lines.append(f"dist_params = dict(backend='gloo', port={port})")
    (tmp_path / 'toy.py').write_text('\n'.join(lines) + '\n')
    options = ['--options', f'dist_params.port={port}'] if how == 'option' else []
    environment = {**os.environ, 'SLURM_CONF': slurm, 'GPUS': '2', 'CPUS_PER_TASK': '1', 'CUDA_VISIBLE_DEVICES': '-1',
                   'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable, 'SRUN_ARGS': '--immediate=60'}
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_PORT', 'MASTER_ADDR'):
        environment.pop(name, None)
    done = subprocess.run([shell, str(ROOT / 'tools' / 'slurm_train.sh'), 'local', 'toy', 'toy.py', 'work', *options],
                          cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    facts = [(tmp_path / 'work' / f'rank_{rank}.txt').read_text() for rank in (0, 1)]
    assert facts == [f'0 2 gloo {port}', f'1 2 gloo {port}']
    assert (tmp_path / 'work' / 'epoch_1.pth').is_file()
