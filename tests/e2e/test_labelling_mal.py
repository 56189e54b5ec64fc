"""``maskforge label`` with a real, untrained MAL: killed, started again, and on three processes."""
import sys

import pytest
import torch
from commands import run
from mmengine.config import Config
from tiny_mal import draw_boxes, tiny_mal_config

from maskforge.checkpoints import save_checkpoint
from maskforge.registry import MODELS

#: ends the process without a word after its third chunk
DIES = '''
import os, sys
plain, left = os.replace, [3]
def replace(source, target, **more):
    plain(source, target, **more)
    left[0] -= 'chunk_' in str(target)
    if not left[0]:
        os.kill(os.getpid(), 9)
os.replace = replace
from maskforge.cli.label import main
sys.exit(main(sys.argv[1:]))
'''


@pytest.fixture(scope='module')
def job(tmp_path_factory):
    """Words of a job on some 20 boxes, and what an unbroken run writes."""
    folder = tmp_path_factory.mktemp('mal')
    drawn = draw_boxes(folder / 'data', num_train=12)
    config = tiny_mal_config(drawn, folder / 'run')
    config.update(val_dataloader=dict(batch_size=2, num_workers=0, dataset=dict(
        config['train_dataloader']['dataset'], test_mode=True), sampler=dict(
            type='GroupedBoxSampler', shuffle=False, round_up=False)), val_cfg=dict(type='ValLoop'),
        val_evaluator=dict(type='PseudoLabelMetric'))
    config.update(test_dataloader=config['val_dataloader'], test_cfg=dict(type='TestLoop'),
                  test_evaluator=config['val_evaluator'])
    Config(config).dump(folder / 'mal.py')
    torch.manual_seed(0)
    model = MODELS.build(config['model'])
    model.init_weights()
    save_checkpoint(dict(meta={}, state_dict=model.state_dict()), folder / 'mal.pth')

    def words(out: str, *more: str) -> list[str]:
        return [str(folder / 'mal.py'), '--weights', str(folder / 'mal.pth'), '--ann-file',
                str(drawn.annotations['train']), '--img-dir', str(drawn.images['train']), '--out', str(folder / out),
                '--batch-size', '2', '--chunk-size', '4', '--review', '0', *more]

    run(sys.executable, '-m', 'maskforge.cli.main', 'label', *words('whole.json'))
    return words, folder


@pytest.mark.slow
def test_three_processes_write_the_same(job):
    words, folder = job
    run(sys.executable, '-m', 'maskforge.cli.main', 'label', *words('three.json', '--num-gpus', '3'))
    assert (folder / 'three.json').read_bytes() == (folder / 'whole.json').read_bytes()


@pytest.mark.slow
def test_killed_and_started_again(job):
    words, folder = job
    done = run(sys.executable, '-c', DIES, *words('killed.json'), check=False)
    assert done.returncode == -9 and not (folder / 'killed.json').exists(), done.stderr[-2000:]
    run(sys.executable, '-m', 'maskforge.cli.main', 'label', *words('killed.json'))
    assert (folder / 'killed.json').read_bytes() == (folder / 'whole.json').read_bytes()
