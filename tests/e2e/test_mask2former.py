"""Mask2Former from a config to metrics: every mode, resumed bit for bit, on two processes."""
import json
import sys

import pytest
import torch
from commands import run, scalars
from interrupted_runs import Interrupted, free_port
from tiny_mask2former import draw_all, tiny_mask2former_config

from maskforge.engine import Runner

KEYS = dict(panoptic='coco_panoptic/PQ', instance='coco/segm_mAP', semantic='mIoU')
TWO_PROCESSES = '''
import hashlib, json, pathlib, sys
import torch
from maskforge.engine import Runner

torch.set_num_threads(1)
runner = Runner.from_cfg(json.load(open(sys.argv[1])))
runner.train()
parameters = b''.join(p.detach().numpy().tobytes() for p in runner.model.module.parameters())
state = [hashlib.sha256(parameters).hexdigest(), runner.iter]
pathlib.Path(sys.argv[2], f'rank{torch.distributed.get_rank()}.json').write_text(json.dumps(state))
torch.distributed.barrier()
torch.distributed.destroy_process_group()
'''


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    """A few pictures with masks, panoptic and semantic maps."""
    return draw_all(tmp_path_factory.mktemp('pictures'))


@pytest.mark.parametrize('mode', KEYS)
def test_loss_falls_and_validation_reports(drawn, tmp_path, mode):
    runner = Runner.from_cfg(tiny_mask2former_config(drawn, tmp_path, mode, train_cfg=dict(
        by_epoch=True, max_epochs=12, val_interval=12)))
    runner.train()
    entries = scalars(tmp_path)
    values = [entry['loss'] for entry in entries if 'loss' in entry]
    assert sum(values[-5:]) < 0.85 * sum(values[:5])
    assert any(KEYS[mode] in entry for entry in entries)
    assert all(name in entries[0] for name in ('loss_ce', 'loss_mask_0', 'loss_dice_1'))


def test_one_model_in_all_modes(drawn, tmp_path):
    """Panoptic truth with a semantic map and the boxes' file beside it: all metrics of one pass."""
    config = tiny_mask2former_config(drawn, tmp_path, 'panoptic', model=dict(mode=list(KEYS)))
    config['val_dataloader']['dataset']['pipeline'][1]['with_seg'] = True
    config['val_evaluator'] = [config['val_evaluator'], dict(type='CocoMetric', metric=['bbox', 'segm'],
                               ann_file=str(drawn.annotations['val'])), dict(type='IoUMetric')]
    runner = Runner.from_cfg(config)
    runner.train()
    last = [entry for entry in scalars(tmp_path) if 'mIoU' in entry][-1]
    assert all(0 <= last[key] <= 1 for key in (*KEYS.values(), 'coco/bbox_mAP', 'aAcc'))


def test_resume_is_bit_equal(drawn, tmp_path):
    unbroken = Runner.from_cfg(tiny_mask2former_config(drawn, tmp_path / 'unbroken', 'panoptic'))
    unbroken.train()
    with pytest.raises(Interrupted):
        Runner.from_cfg(tiny_mask2former_config(drawn, tmp_path / 'broken', 'panoptic',
                                                custom_hooks=[dict(type='BreakOff', iteration=5)])).train()
    torch.manual_seed(99)  # whatever the new process does before it resumes
    resumed = Runner.from_cfg(tiny_mask2former_config(drawn, tmp_path / 'broken', 'panoptic', resume=True))
    resumed.train()
    first, second = unbroken.model.state_dict(), resumed.model.state_dict()
    assert unbroken.iter == resumed.iter > 5 and all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
def test_mixed_precision(drawn, tmp_path, precision):
    config = tiny_mask2former_config(drawn, tmp_path, 'instance', train_cfg=dict(
        by_epoch=True, max_epochs=1, val_interval=9), model=dict(activation_checkpoint=True))
    config['optim_wrapper'].update(type='AmpOptimWrapper', dtype=precision)
    Runner.from_cfg(config).train()
    assert all(entry['loss'] < 100 for entry in scalars(tmp_path) if 'loss' in entry)


@pytest.mark.parametrize('model', [
    pytest.param(dict(deep_supervision=False), id='last layer alone'),
    pytest.param(dict(freeze=['sem_seg_head.pixel_decoder'], activation_checkpoint=True), id='frozen, recomputed'),
])
@pytest.mark.slow
def test_two_processes_stay_together(drawn, tmp_path, model):
    """With pictures without objects, so that processes have unequal numbers of targets."""
    content = json.loads(drawn.annotations['train'].read_text())
    empty = {image['id'] for image in content['images'][::2]}
    content['annotations'] = [entry for entry in content['annotations'] if entry['image_id'] not in empty]
    (tmp_path / 'train.json').write_text(json.dumps(content))
    config = tiny_mask2former_config(drawn, tmp_path / 'run', 'instance', model=model, batch_size=1,
                                     launcher='pytorch')
    config['train_dataloader']['dataset'].update(ann_file=str(tmp_path / 'train.json'))
    (tmp_path / 'config.json').write_text(json.dumps(config))
    (tmp_path / 'script.py').write_text(TWO_PROCESSES)
    run(sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', f'--master_port={free_port()}',
        tmp_path / 'script.py', tmp_path / 'config.json', tmp_path)
    results = [json.loads(path.read_text()) for path in sorted(tmp_path.glob('rank*.json'))]
    assert len(results) == 2 and results[0] == results[1] and results[0][1] == 6
