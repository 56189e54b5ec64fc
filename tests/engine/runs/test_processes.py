"""Two processes on gloo: they train, and their metrics are those of one process."""
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import textwrap

import pytest

from maskforge.engine import Runner

SCRIPT = textwrap.dedent('''
    import importlib.util, json, sys
    spec = importlib.util.spec_from_file_location('toy', sys.argv[1])
    toy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(toy)
    from maskforge.engine import Runner
    from maskforge.registry import MODELS
    launcher, work_dir, mode = sys.argv[2:5]
    cfg = toy.toy_config(work_dir, launcher=launcher, val_cfg=dict(val_loss=True),
                         env_cfg=dict(dist_cfg=dict(backend='nccl', port=29999)))
    if mode == 'resume':
        cfg.update(resume=True)
    if mode == 'broken':
        cfg['train_cfg']['max_epochs'] = 2
    runner = Runner.from_cfg(cfg)
    runner.train()
    metrics = runner.val()
    model = getattr(runner.model, 'module', runner.model)
    metrics['weights'] = [tensor.flatten().tolist() for tensor in model.state_dict().values()]
    if runner.rank == 0:
        print('RESULT', json.dumps(metrics))
''')


def free_port():
    """A port from 29600 on that nobody uses now: several test runs may share the machine."""
    for port in random.sample(range(29600, 29641), 41):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(('127.0.0.1', port))
            return port
    raise RuntimeError('the ports 29600 to 29640 are all in use')


@pytest.fixture
def start(tmp_path, toy_source):
    """``start(processes, work_dir, mode)`` runs the script and returns rank 0's result and all output."""
    script = tmp_path / 'script.py'
    script.write_text(SCRIPT)

    def run(processes, work_dir, mode):
        env = dict(os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='-1')
        launch = [sys.executable]
        if processes > 1:
            launch += ['-m', 'torch.distributed.run', f'--nproc_per_node={processes}', f'--master_port={free_port()}']
        done = subprocess.run([*launch, str(script), toy_source, 'pytorch' if processes > 1 else 'none',
                               str(tmp_path / work_dir), mode], env=env, capture_output=True,
                              text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        line = next(line for line in done.stdout.splitlines() if line.startswith('RESULT'))
        return json.loads(line.removeprefix('RESULT ')), done.stdout + done.stderr
    return run


def test_two_processes_measure_like_one(start, config, tmp_path):
    two, output = start(2, 'two', 'train')
    assert 'gloo takes the place' in output and 'port=29999 is not used' in output
    assert 'FutureWarning' not in output
    one = Runner.from_cfg(config(tmp_path / 'one', load_from=str(tmp_path / 'two' / 'epoch_3.pth'),
                                 val_cfg=dict(val_loss=True))).val()
    two.pop('weights')
    assert one == two
    assert one['toy/count'] == 11
    assert one['val_loss'] == pytest.approx(one['val_loss_square'] + one['val_loss_absolute'])


@pytest.mark.slow
def test_two_processes_resume_exactly(start):
    unbroken, _ = start(2, 'unbroken', 'train')
    start(2, 'broken', 'broken')
    resumed, _ = start(2, 'broken', 'resume')
    assert resumed == unbroken
