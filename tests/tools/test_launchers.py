"""The shell launchers, with programs that only print what they are called with."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
SHELLS = [name for name in ('dash', 'bash', 'sh') if shutil.which(name)]


@pytest.fixture
def run(tmp_path):
    """``run(shell, script, args, **environment)`` -> the lines that the fake python or srun was called with."""
    for name in ('python', 'srun'):
        fake = tmp_path / name
        fake.write_text('#!/bin/sh\nfor word in "$0" "$@"; do echo "$word"; done\n')
        fake.chmod(0o755)

    def call(shell: str, script: str, *args: str, cwd: Path = tmp_path, **environment: str) -> list[str]:
        keep = {key: value for key, value in os.environ.items() if key in ('HOME', 'LANG')}
        path = f'{tmp_path}:/usr/bin:/bin'
        command = [str(TOOLS / script)] if shell == './' else [shutil.which(shell), str(TOOLS / script)]
        done = subprocess.run(
            [*command, *args],
            env={**keep, 'PATH': path, **environment},
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return call


@pytest.mark.parametrize('shell', [*SHELLS, './'])
def test_dist_train(run, shell):
    words = run(shell, 'dist_train.sh', 'my cfg.py', '2', '--cfg-options', 'a=[1, 2]')
    assert Path(words[0]).name == 'python'
    assert words[1:] == [
        '-m',
        'torch.distributed.run',
        '--nnodes=1',
        '--node_rank=0',
        '--nproc_per_node=2',
        '--master_addr=127.0.0.1',
        '--master_port=29500',
        str(TOOLS / 'train.py'),
        'my cfg.py',
        '--launcher',
        'pytorch',
        '--cfg-options',
        'a=[1, 2]',
    ]


@pytest.mark.parametrize('shell', SHELLS)
def test_dist_test_with_environment(run, shell):
    words = run(
        shell,
        'dist_test.sh',
        'cfg.py',
        'w.pth',
        '4',
        '--out',
        'r.json',
        PORT='29511',
        NNODES='2',
        NODE_RANK='1',
        MASTER_ADDR='10.1.1.1',
    )
    assert words[3:8] == [
        '--nnodes=2',
        '--node_rank=1',
        '--nproc_per_node=4',
        '--master_addr=10.1.1.1',
        '--master_port=29511',
    ]
    assert words[8:] == [str(TOOLS / 'test.py'), 'cfg.py', 'w.pth', '--launcher', 'pytorch', '--out', 'r.json']


@pytest.mark.parametrize('shell', [*SHELLS, './'])
def test_slurm_train(run, shell):
    words = run(
        shell,
        'slurm_train.sh',
        'part',
        'job',
        'cfg.py',
        'work',
        '--options',
        'dist_params.port=29501',
        GPUS='16',
        CPUS_PER_TASK='3',
        SRUN_ARGS='--qos=a --time=1',
    )
    assert words[1:8] == [
        '-p',
        'part',
        '--job-name=job',
        '--gres=gpu:8',
        '--ntasks=16',
        '--ntasks-per-node=8',
        '--cpus-per-task=3',
    ]
    assert words[8:11] == ['--kill-on-bad-exit=1', '--qos=a', '--time=1']
    assert words[12:] == [
        '-u',
        str(TOOLS / 'train.py'),
        'cfg.py',
        '--work-dir',
        'work',
        '--launcher',
        'slurm',
        '--options',
        'dist_params.port=29501',
    ]


@pytest.mark.parametrize(
    ('environment', 'gres'),
    [
        ({'GPUS': '2'}, ['--gres=gpu:2']),
        ({'GPUS': '2', 'CUDA_VISIBLE_DEVICES': '-1'}, []),
        ({'GPUS': '2', 'GRES': 'none'}, []),
        ({'GPUS': '4', 'GPUS_PER_NODE': '2', 'GRES': 'gpu:h200:2'}, ['--gres=gpu:h200:2']),
    ],
)
def test_slurm_test_gres(run, environment, gres):
    words = run(SHELLS[0], 'slurm_test.sh', 'part', 'job', 'cfg.py', 'w.pth', **environment)
    assert [word for word in words if word.startswith('--gres')] == gres
    assert f'--ntasks-per-node={environment.get("GPUS_PER_NODE", environment["GPUS"])}' in words
    assert words[-4:] == ['cfg.py', 'w.pth', '--launcher', 'slurm']


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh'])
def test_usage(script):
    done = subprocess.run(['sh', str(TOOLS / script)], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and 'usage:' in done.stderr


SCRIPTS = sorted(TOOLS.rglob('*.py'))


@pytest.mark.parametrize(
    'script', [path for path in SCRIPTS if not {'benchmarks', 'stress'} & set(path.parts)], ids=lambda path: path.name
)
def test_scripts_are_thin_and_run_from_anywhere(script, tmp_path):
    assert len(script.read_text().splitlines()) <= 40
    # -S and no PYTHONPATH would hide mmengine too: an empty folder as cwd is what a clone without an installation has
    done = subprocess.run(
        [sys.executable, str(script), '--help'], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and 'usage: maskforge' in done.stdout, done.stderr
