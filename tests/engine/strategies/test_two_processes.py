"""A toy training on two gloo processes under each strategy: accumulation, moving average, validation, checkpoints."""
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from interrupted_runs import free_port

from maskforge.checkpoints import is_whole, load_checkpoint
from maskforge.engine import Runner

pytestmark = pytest.mark.slow

TOY = Path(__file__).parents[1] / 'runs' / 'conftest.py'
SCRIPT = '''
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location('toy', sys.argv[1])
toy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)
from maskforge.engine import Runner
folder, jobs = sys.argv[2], json.loads(sys.argv[3])
results = {}
for name, changes in jobs.items():
    # no dropout; an odd number of batches to validate; a checkpoint within a window of accumulated gradients; biases
    # before a batch norm have no gradient but noise, which a large eps keeps small
    work_dir = changes.pop('work_dir', f'{folder}/{name}')
    cfg = toy.toy_config(work_dir, launcher='pytorch', log_level='WARNING', **{**dict(
        model=dict(type='ToyModel', dropout=0.0), custom_hooks=[dict(type='EMAHook', momentum=0.1)],
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=8, val_interval=4),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01, eps=1e-3), accumulative_counts=2,
                           clip_grad=dict(max_norm=0.5), paramwise_cfg=dict(bias_lr_mult=2.0)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=3, by_epoch=False, save_best='toy/error',
                                           rule='less'))), **changes})
    runner = Runner.from_cfg(cfg)
    runner.train()
    results[name] = dict(error=runner.val()['toy/error'], layers=[type(m).__name__ for m in runner.model.modules()])
if runner.rank == 0:
    print('RESULT', json.dumps(results))
'''
FSDP = dict(type='FSDP2Strategy', units=['backbone.0', 'bbox_head'])
SHARDED = dict(FSDP, checkpoint='sharded')


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """All trainings in one group of processes: (folder, results by name, output)."""
    folder = tmp_path_factory.mktemp('runs')
    (folder / 'script.py').write_text(SCRIPT)
    names = ('ddp', 'ddp_sharded', 'fsdp', 'parts')
    half = {name: f'{name}/iter_3' + ('' if name == 'parts' else '.pth') for name in names}
    strategies = dict(ddp='ddp', ddp_sharded='ddp_sharded', fsdp=FSDP, parts=SHARDED)
    jobs = {name: dict(strategy=strategy) for name, strategy in strategies.items()}
    for writer, reader in (('ddp', 'fsdp'), ('fsdp', 'ddp_sharded'), ('ddp_sharded', 'parts'), ('parts', 'ddp'),
                           ('fsdp', 'fsdp'), ('ddp_sharded', 'ddp_sharded')):
        jobs[f'{writer}>{reader}'] = dict(strategy=strategies[reader], resume=str(folder / half[writer]))
    jobs['parts again'] = dict(strategy=SHARDED, resume=True, work_dir=str(folder / 'parts'))
    jobs['options'] = dict(strategy=dict(
        type='fsdp', units='auto', min_params=1, param_dtype='bfloat16', reduce_dtype='float32', cpu_offload=True,
        reshard_after_forward=False, activation_checkpointing=['bbox_head']))
    jobs['amp'] = dict(strategy='fsdp', optim_wrapper=dict(type='AmpOptimWrapper', optimizer=dict(type='SGD', lr=0.01)))
    jobs['compressed'] = dict(strategy=dict(type='ddp', gradient_compression='bfloat16', static_graph=True),
                              optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)))
    environment = dict(os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='-1')
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', f'--master_port={free_port()}',
         str(folder / 'script.py'), str(TOY), str(folder), json.dumps(jobs)], env=environment, capture_output=True,
        text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith('RESULT'))
    return folder, json.loads(line.removeprefix('RESULT ')), done.stdout + done.stderr


def close(one, other):
    """Raise where weights, their average or the optimizer's state differ."""
    for key in ('state_dict', 'ema_state_dict'):
        torch.testing.assert_close(one[key], other[key], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(one['optimizer']['state'], other['optimizer']['state'], atol=1e-6, rtol=1e-5)
    assert one['optimizer']['param_groups'] == other['optimizer']['param_groups']
    gradients = [checkpoint['optimizer'].get('partial_gradients') for checkpoint in (one, other)]
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize('name', ['ddp_sharded', 'fsdp', 'parts'])
def test_equal_to_ddp(runs, name):
    folder, results, _ = runs
    suffix = '' if name == 'parts' else '.pth'
    for iteration in (3, 6, 8):
        close(load_checkpoint(folder / name / f'iter_{iteration}{suffix}'),
              load_checkpoint(folder / 'ddp' / f'iter_{iteration}.pth'))
    assert results[name]['error'] == pytest.approx(results['ddp']['error'], abs=1e-4)
    best = next((folder / name).glob('best_toy_error_iter_*'))
    assert is_whole(best) and best.is_dir() == (name == 'parts')


@pytest.mark.parametrize('pair', ['ddp>fsdp', 'fsdp>ddp_sharded', 'ddp_sharded>parts', 'parts>ddp'])
def test_checkpoints_continue_under_another_strategy(runs, pair):
    folder, _, _ = runs
    name = 'iter_8' + ('' if pair.endswith('parts') else '.pth')
    close(load_checkpoint(folder / pair / name), load_checkpoint(folder / 'ddp' / 'iter_8.pth'))


@pytest.mark.parametrize('name', ['fsdp', 'ddp_sharded'])
def test_a_run_continues_exactly(runs, name):
    folder, _, _ = runs
    resumed, unbroken = (load_checkpoint(folder / run / 'iter_8.pth') for run in (f'{name}>{name}', name))
    for key in ('state_dict', 'ema_state_dict'):
        assert all(torch.equal(resumed[key][part], value) for part, value in unbroken[key].items())
    torch.testing.assert_close(resumed['optimizer']['state'], unbroken['optimizer']['state'], atol=0, rtol=0)


@pytest.fixture
def toy():
    spec = importlib.util.spec_from_file_location('toy_runs', TOY)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_process_continues_what_two_began(runs, toy, tmp_path):
    folder, _, _ = runs
    runner = Runner.from_cfg(toy.toy_config(
        tmp_path, resume=str(folder / 'parts' / 'iter_6'), strategy=SHARDED, train_cfg=dict(
            type='IterBasedTrainLoop', max_iters=8), optim_wrapper=dict(
                optimizer=dict(type='AdamW', lr=0.01, eps=1e-3), paramwise_cfg=dict(bias_lr_mult=2.0)),
        param_scheduler=None, val_dataloader=None, val_cfg=None, val_evaluator=None))
    runner.train()
    assert runner.iter == 8
    text = next(tmp_path.rglob('*.log')).read_text()
    assert '2 processes when the checkpoint was written, 1 now' in text
    assert "strategy='fsdp' in one process: nothing is sharded" in text


def test_checkpoints_of_one_process(runs, toy, tmp_path):
    """A file and a folder load into one process, with weights that predict alike."""
    folder, _, _ = runs
    errors = []
    for source in ('fsdp/iter_8.pth', 'parts/iter_8', 'ddp/iter_8.pth'):
        runner = Runner.from_cfg(toy.toy_config(tmp_path / source.replace('/', '_'), load_from=str(folder / source),
                                                strategy=SHARDED))
        errors.append(runner.val()['toy/error'])
    assert errors == pytest.approx([errors[-1]] * 3, abs=1e-4)


def test_a_finished_run_in_parts_is_found(runs):
    _, results, _ = runs
    assert results['parts again']['error'] == pytest.approx(results['parts']['error'])


@pytest.mark.parametrize('name', ['options', 'amp', 'compressed'])
def test_options_train(runs, name):
    _, results, output = runs
    assert results[name]['error'] < 100
    assert 'strategy.cpu_offload has no effect: the training is on the CPU' in output


def test_fsdp_shards_what_was_named(runs):
    _, results, _ = runs
    layers = results['fsdp']['layers']
    assert layers[0] == 'FSDPToyModel' and layers.count('FSDPLinear') == 2
