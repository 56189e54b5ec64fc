"""A tiny Deformable DETR through the Runner: learning, exact resume, plateaus, two processes with unequal targets."""
import json
import sys

import pytest
import torch
from commands import run, scalars
from interrupted_runs import Interrupted, free_port
from tiny_detr import draw_pictures, tiny_detr_config

from maskforge.engine import Runner

TWO_PROCESSES = '''
import hashlib, json, pathlib, sys
import torch
from maskforge.engine import Runner

torch.set_num_threads(1)
runner = Runner.from_cfg(json.load(open(sys.argv[1])))
runner.train()
parameters = b''.join(p.detach().numpy().tobytes() for p in runner.model.module.parameters())
state = [hashlib.sha256(parameters).hexdigest(), runner.iter, runner.optim_wrapper.param_groups[0]['lr']]
pathlib.Path(sys.argv[2], f'rank{torch.distributed.get_rank()}.json').write_text(json.dumps(state))
torch.distributed.barrier()
torch.distributed.destroy_process_group()
'''


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    """A few pictures with boxes."""
    return draw_pictures(tmp_path_factory.mktemp('pictures'))


def test_loss_falls_and_validation_reports(drawn, tmp_path):
    runner = Runner.from_cfg(tiny_detr_config(drawn, tmp_path, train_cfg=dict(by_epoch=True, max_epochs=12,
                                                                              val_interval=12)))
    runner.train()
    entries = scalars(tmp_path)
    values = [entry['loss'] for entry in entries if 'loss' in entry]
    assert sum(values[-5:]) < 0.8 * sum(values[:5])
    assert any('coco/bbox_mAP' in entry and 'val_loss' in entry for entry in entries)
    assert all(name in entries[0] for name in ('loss_ce', 'loss_bbox_0', 'loss_giou_enc', 'class_error'))


@pytest.mark.parametrize('model', [
    pytest.param({}, id='two-stage'),
    pytest.param(dict(with_box_refine=False, two_stage=False, activation_checkpoint=True), id='checkpointed'),
])
def test_resume_is_bit_equal(drawn, tmp_path, model):
    unbroken = Runner.from_cfg(tiny_detr_config(drawn, tmp_path / 'unbroken', model=model))
    unbroken.train()
    with pytest.raises(Interrupted):
        Runner.from_cfg(tiny_detr_config(drawn, tmp_path / 'broken', model=model,
                                         custom_hooks=[dict(type='BreakOff', iteration=5)])).train()
    torch.manual_seed(99)  # whatever the new process does before it resumes
    resumed = Runner.from_cfg(tiny_detr_config(drawn, tmp_path / 'broken', model=model, resume=True))
    resumed.train()
    first, second = unbroken.model.state_dict(), resumed.model.state_dict()
    assert unbroken.iter == resumed.iter > 5 and all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize('monitor', ['val_loss', 'train_loss'])
def test_autoreduce_lowers_the_rate_on_a_plateau(drawn, tmp_path, monitor):
    """With a rate of nearly nothing no loss improves: the second validation of three lowers it, the last has no use."""
    runner = Runner.from_cfg(tiny_detr_config(
        drawn, tmp_path, train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=1), model=dict(dropout_ratio=0.0),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-12)),
        param_scheduler=[dict(type='AutoReduce', monitor=monitor, factor=0.5, patience=0, threshold=0.5, eps=0.0)]))
    runner.train()
    assert runner.optim_wrapper.param_groups[0]['lr'] == pytest.approx(0.5e-12, abs=0)


@pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
def test_mixed_precision(drawn, tmp_path, precision):
    """Numbers near those of float32, not equal to them."""
    runs = []
    for name, wrapper in (('full', {}), (precision, dict(type='AmpOptimWrapper', dtype=precision))):
        config = tiny_detr_config(drawn, tmp_path / name, train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=9),
                                  model=dict(dropout_ratio=0.0, activation_checkpoint=True))
        config['optim_wrapper'].update(wrapper)
        Runner.from_cfg(config).train()
        runs.append([entry['loss'] for entry in scalars(tmp_path / name) if 'loss' in entry])
    assert runs[0] != runs[1] and runs[1] == pytest.approx(runs[0], rel=0.1)


@pytest.fixture
def some_are_empty(tmp_path):
    """Pictures of which every other one has no object, so that processes have unequal numbers of targets."""
    drawn = draw_pictures(tmp_path / 'pictures')
    path = drawn.annotations['train']
    content = json.loads(path.read_text())
    empty = {image['id'] for image in content['images'][::2]}
    content['annotations'] = [entry for entry in content['annotations'] if entry['image_id'] not in empty]
    path.write_text(json.dumps(content))
    return drawn


@pytest.mark.parametrize('model', [
    pytest.param(dict(two_stage=False, aux_loss=False), id='refined, last layer alone'),
    pytest.param(dict(train_backbone=False, freeze=['encoder']), id='frozen parts'),
    pytest.param(dict(activation_checkpoint=True), id='two-stage, recomputed'),
])
@pytest.mark.slow
def test_two_processes_stay_together(some_are_empty, tmp_path, model):
    config = tiny_detr_config(
        some_are_empty, tmp_path / 'run', model=model, batch_size=1, launcher='pytorch',
        train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=1),
        param_scheduler=[dict(type='AutoReduce', monitor='train_loss', patience=0, threshold=0.5)])
    (tmp_path / 'config.json').write_text(json.dumps(config))
    (tmp_path / 'script.py').write_text(TWO_PROCESSES)
    run(sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', f'--master_port={free_port()}',
        tmp_path / 'script.py', tmp_path / 'config.json', tmp_path)
    results = [json.loads(path.read_text()) for path in sorted(tmp_path.glob('rank*.json'))]
    assert len(results) == 2 and results[0] == results[1] and results[0][1:] == [9, pytest.approx(1e-4)]
