"""A tiny MAL through the Runner: learning, exact resume, accumulation, mixed precision, two processes."""
import json
import sys
from pathlib import Path

import pytest
import torch
from commands import run, scalars
from interrupted_runs import Interrupted, free_port
from tiny_mal import draw_boxes, tiny_mal_config

from maskforge.engine import Runner

TWO_PROCESSES = '''
import hashlib, json, sys
import torch
from maskforge.engine import Runner

torch.set_num_threads(1)
runner = Runner.from_cfg(json.load(open(sys.argv[1])))
model = runner.model.module
start = model.teacher.state_dict()['mask_head.convs.0.conv.weight'].clone()
runner.train()


def digest(network):
    return hashlib.sha256(b''.join(p.detach().numpy().tobytes() for p in network.parameters())).hexdigest()


moved = not torch.equal(start, model.teacher.state_dict()['mask_head.convs.0.conv.weight'])
# a file each: what two processes print may share a line
with open(f"{sys.argv[1]}.{runner.rank}", 'w') as file:
    json.dump([digest(model.student), digest(model.teacher), moved], file)
torch.distributed.barrier()
torch.distributed.destroy_process_group()
'''


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    """A few pictures with boxes."""
    return draw_boxes(tmp_path_factory.mktemp('boxes'))


def losses(work_dir):
    return [entry['loss'] for entry in scalars(Path(work_dir)) if 'loss' in entry]


def assert_same_states(first, second):
    first, second = first.model.state_dict(), second.model.state_dict()
    assert first.keys() == second.keys() and any(key.startswith('teacher.') for key in first)
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


def test_loss_falls_and_the_teacher_follows(drawn, tmp_path):
    runner = Runner.from_cfg(tiny_mal_config(
        drawn, tmp_path, model=dict(loss_mil_step=1, loss_crf_step=1, crf_num_iter=5),
        train_cfg=dict(by_epoch=True, max_epochs=10, val_interval=100)))
    runner.train()
    values = losses(tmp_path)
    assert sum(values[-5:]) < 0.85 * sum(values[1:6])
    model = runner.model
    ids = {id(p) for group in runner.optim_wrapper.param_groups for p in group['params'] if p.requires_grad}
    assert not ids & {id(p) for p in model.teacher.parameters()}
    assert not {id(p) for p in runner.optim_wrapper.optimizer.state} & {id(p) for p in model.teacher.parameters()}
    pairs = list(zip(model.student.parameters(), model.teacher.parameters()))
    assert all(not torch.equal(student, teacher) for student, teacher in pairs)
    gap = sum((student - teacher).square().sum() for student, teacher in pairs)
    assert gap < 0.05 * sum(student.square().sum() for student, _ in pairs)


@pytest.mark.parametrize(('arch', 'stop'), [
    pytest.param({}, 5, id='vit, within an epoch'),
    pytest.param(dict(arch='fan_tiny_12_p16_224', backbone=dict(embed_dim=32, depth=2)), 7, id='fan'),
])
def test_resume_is_bit_equal(drawn, tmp_path, arch, stop):
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=2, by_epoch=False),
                 logger=dict(type='LoggerHook', interval=1))
    unbroken = Runner.from_cfg(tiny_mal_config(drawn, tmp_path / 'unbroken', model=arch, default_hooks=hooks))
    unbroken.train()
    teacher = dict(type='MomentumTeacherHook')
    with pytest.raises(Interrupted):
        Runner.from_cfg(tiny_mal_config(drawn, tmp_path / 'broken', model=arch, default_hooks=hooks, custom_hooks=[
            teacher, dict(type='BreakOff', iteration=stop)])).train()
    torch.manual_seed(99)  # whatever the new process does before it resumes
    resumed = Runner.from_cfg(tiny_mal_config(drawn, tmp_path / 'broken', model=arch, default_hooks=hooks,
                                              resume=True))
    resumed.train()
    assert unbroken.iter == resumed.iter > stop
    assert_same_states(unbroken, resumed)


def test_accumulation_moves_the_teacher_at_real_steps_only(drawn, tmp_path, monkeypatch):
    from maskforge.models.mal import MAL
    calls, steps = [], []
    original = MAL.update_teacher
    monkeypatch.setattr(MAL, 'update_teacher', lambda self: calls.append(len(steps)) or original(self))
    runner = Runner.from_cfg(tiny_mal_config(
        drawn, tmp_path, optim_wrapper=dict(optimizer=dict(type='AdamW', lr=2e-3), accumulative_counts=3),
        train_cfg=dict(by_epoch=True, max_epochs=2, val_interval=100)))
    original_step = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, 'step',
                        lambda self, *a, **k: steps.append(1) or original_step(self, *a, **k))
    runner.train()
    assert len(calls) == len(steps) < runner.iter
    assert calls == list(range(1, len(steps) + 1))


def test_weight_decay_leaves_the_teacher_alone(drawn, tmp_path):
    optim = dict(optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.5))
    runner = Runner.from_cfg(tiny_mal_config(drawn, tmp_path, model=dict(teacher_momentum=1.0), optim_wrapper=optim,
                                             train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=100)))
    before = {key: value.clone() for key, value in runner.model.teacher.state_dict().items()}
    runner.train()
    after = runner.model.teacher.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_mixed_precision_on_the_cpu(drawn, tmp_path):
    runs = []
    for name, optim in (('fp32', {}), ('bf16', dict(type='AmpOptimWrapper', dtype='bfloat16'))):
        optim = dict(optim, optimizer=dict(type='AdamW', lr=2e-3))
        runner = Runner.from_cfg(tiny_mal_config(drawn, tmp_path / name, optim_wrapper=optim))
        runner.train()
        runs.append(losses(tmp_path / name))
        assert all(p.dtype == torch.float32 and p.isfinite().all() for p in runner.model.parameters())
    assert runs[0] != runs[1] and runs[1] == pytest.approx(runs[0], rel=0.2, abs=0.05)


def test_two_processes_keep_their_teachers_equal(drawn, tmp_path):
    config = tiny_mal_config(drawn, tmp_path / 'run', batch_size=2, launcher='pytorch',
                             train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=100))
    (tmp_path / 'config.json').write_text(json.dumps(config))
    (tmp_path / 'script.py').write_text(TWO_PROCESSES)
    run(sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', f'--master_port={free_port()}',
        tmp_path / 'script.py', tmp_path / 'config.json')
    results = [json.loads((tmp_path / f'config.json.{rank}').read_text()) for rank in range(2)]
    assert results[0] == results[1]
    student, teacher, moved = results[0]
    assert student != teacher and moved
