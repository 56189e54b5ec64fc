"""slurm_train.sh under a real Slurm of two virtual nodes: started, submitted, preempted, continued (gloo)."""
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from maskforge.checkpoints import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]
START = ROOT / 'tests' / 'slurm' / 'start_slurm.sh'
TOY = ROOT / 'tests' / 'e2e' / 'toy_mask_rcnn.py'
pytestmark = pytest.mark.slow

PROBE = '''
"""Writes what the process group of a task was made of; takes its time before the first preemption."""
import os
import time
from pathlib import Path

import torch.distributed as dist
from mmengine.hooks import Hook

from maskforge.registry import HOOKS


@HOOKS.register_module()
class SlurmProbeHook(Hook):
    def __init__(self, seconds=0):
        self.seconds = seconds if os.environ.get('SLURM_RESTART_COUNT', '0') == '0' else 0

    def before_run(self, runner):
        facts = [dist.get_rank(), dist.get_world_size(), dist.get_backend(), os.environ['MASTER_PORT']]
        Path(runner.work_dir, f'rank_{facts[0]}.txt').write_text(' '.join(map(str, facts)))
        Path(runner.work_dir, f'node_{facts[0]}.txt').write_text(os.environ['SLURMD_NODENAME'])

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        time.sleep(self.seconds)
        Path(runner.work_dir, f'done_{runner.iter + 1}').touch()
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
    environment = {**os.environ, 'SLURMCTLD_PORT': str(free_port()), 'SLURMD_PORT': str(free_port(of=2))}
    done = subprocess.run(['sh', str(START), 'start', str(folder)], capture_output=True, text=True, check=False,
                          env=environment, timeout=120)
    if done.returncode != 0:
        subprocess.run(['sh', str(START), 'stop', str(folder)], check=False)
        pytest.fail(f'Slurm did not start: {done.stderr}')
    yield done.stdout.split()[-1]
    subprocess.run(['sh', str(START), 'stop', str(folder)], check=False)


def free_port(of: int = 1) -> int:
    """The first of so many free ports in a row."""
    while True:
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            first = probe.getsockname()[1]
        try:
            for port in range(first, first + of):
                with socket.socket() as probe:
                    probe.bind(('127.0.0.1', port))
        except (OSError, OverflowError):
            continue
        return first


@pytest.fixture
def launch(slurm, tmp_path):
    """``launch(work_dir, *arguments, shell='sh', **environment)`` runs slurm_train.sh with two tasks; its output."""
    (tmp_path / 'slurm_probe.py').write_text(PROBE)

    def run(work_dir, *arguments, shell='sh', seconds=0, epochs=1, more=(), **variables):
        lines = [f"_base_ = '{TOY}'", "custom_imports = dict(imports=['slurm_probe'])",
                 f"custom_hooks = [dict(type='SlurmProbeHook', seconds={seconds})]",
                 f'train_cfg = dict(max_epochs={epochs}, val_interval=4)', 'param_scheduler = []', *more]
        (tmp_path / 'toy.py').write_text('\n'.join(lines) + '\n')
        # the names of the virtual nodes are not known to the network
        environment = {**os.environ, 'SLURM_CONF': slurm, 'GPUS': '2', 'CPUS_PER_TASK': '1', 'MASTER_ADDR': '127.0.0.1',
                       'CUDA_VISIBLE_DEVICES': '-1', 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable, **variables}
        for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_PORT'):
            environment.pop(name, None)
        done = subprocess.run([shell, str(ROOT / 'tools' / 'slurm_train.sh'), 'local', 'toy', 'toy.py', work_dir,
                               *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
                              timeout=600)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout
    return run


@pytest.mark.parametrize(('shell', 'how', 'per_node'), [('sh', 'option', 2), ('bash', 'config', 1)])
def test_two_tasks_with_a_port(launch, tmp_path, shell, how, per_node):
    port = str(free_port())
    more = [f"dist_params = dict(backend='gloo', port={port})"] if how == 'config' else []
    options = ['--options', f'dist_params.port={port}'] if how == 'option' else []
    launch('work', *options, shell=shell, more=more, GPUS_PER_NODE=str(per_node), SRUN_ARGS='--immediate=60')
    facts = [(tmp_path / 'work' / f'rank_{rank}.txt').read_text() for rank in (0, 1)]
    assert facts == [f'0 2 gloo {port}', f'1 2 gloo {port}']
    nodes = {(tmp_path / 'work' / f'node_{rank}.txt').read_text() for rank in (0, 1)}
    assert len(nodes) == 3 - per_node
    assert (tmp_path / 'work' / 'epoch_1.pth').is_file()


@pytest.mark.parametrize('notice', ['requeue', 'USR1'])
def test_a_preempted_job_comes_back_and_continues_exactly(launch, slurm, tmp_path, notice):
    options = ['--options', f'dist_params.port={free_port()}']
    launch('whole', *options, epochs=4, GPUS_PER_NODE='1')
    told = launch('cut', *options, epochs=4, seconds=0.5, GPUS_PER_NODE='1', SBATCH='1')
    job = re.search(r'Submitted batch job (\d+)', told).group(1)
    ask = Ask(slurm, job)
    ask.wait_for(lambda: (tmp_path / 'cut' / 'done_4').exists())
    if notice == 'requeue':
        ask('scontrol', 'requeue', job)
    else:  # what --signal=B:USR1@120 sends before the time limit
        ask('scancel', '--signal=USR1', '--batch', job)
    ask.wait_for(lambda: ask.state() in ('COMPLETED', 'FAILED', 'CANCELLED', 'TIMEOUT'))
    log = (tmp_path / 'cut' / f'slurm-{job}.log').read_text()
    assert ask.state() == 'COMPLETED', log[-3000:]
    name = 'SIGUSR1' if notice == 'USR1' else 'SIGTERM'
    saved = re.search(rf'{name}: saved \S+/cut/(iter_\d+\.pth); --resume continues there', log)
    assert saved, log[-3000:]
    assert '(restarts: 0)' in log and '(restarts: 1)' in log
    assert re.search(rf'continuing .*{saved.group(1)} at epoch', log)
    whole, cut = (load_checkpoint(tmp_path / name / 'epoch_4.pth')['state_dict'] for name in ('whole', 'cut'))
    assert all(torch.equal(tensor, cut[name]) for name, tensor in whole.items())


class Ask:
    """Slurm's commands about a job."""

    def __init__(self, conf: str, job: str) -> None:
        self.environment, self.job = {**os.environ, 'SLURM_CONF': conf}, job

    def __call__(self, *command: str) -> str:
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout

    def state(self) -> str:
        return re.search(r'JobState=(\w+)', self('scontrol', 'show', 'job', '-o', self.job)).group(1)

    def wait_for(self, condition, seconds: float = 600) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self('scontrol', 'show', 'job', self.job)
            time.sleep(0.5)
