"""``--dry-run`` goes through training, validation and test of every family, and keeps nothing."""
import re
from pathlib import Path

import pytest
from tiny_mask2former import draw_all, tiny_mask2former_config
from toy_configs import shrink
from toy_data import draw_data_for

from maskforge.cli.dry_run import _FirstBatches, dry_run, shortened
from maskforge.config import Config, load_config

ROOT = Path(__file__).resolve().parents[2]

FAMILIES = ['mask_rcnn/mask-rcnn_r50_fpn_1x_coco', 'deformable_detr/deformable-detr_r50_16xb2-50e_coco', 'mask2former',
            'mal/mal_vit-deit-s16_8xb4-10e_coco', 'sam2/sam2.1_hiera-b+_sa1b-sav']


def toy_config(name, data):
    """A shipped config at toy size on drawn data; Mask2Former's metric needs more than that."""
    if name == 'mask2former':
        return Config(tiny_mask2former_config(draw_all(data), data, 'panoptic'))
    cfg = load_config(ROOT / 'configs' / f'{name}.py')
    draw_data_for(cfg, data)
    shrink(cfg, data)
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        if 'ann_file' in evaluator:
            evaluator.ann_file = str(data / 'annotations.json')
    if cfg.model.type == 'SAM2':
        cfg.train_dataloader.batch_sampler.phases_per_epoch = 1
    if cfg.model.type == 'DeformableDETR':  # GroupNorm needs more than one value: the smallest map has one pixel
        cfg.val_dataloader.batch_size = cfg.test_dataloader.batch_size = 2
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize('name', FAMILIES, ids=lambda name: name.split('/')[0])
def test_families(name, tmp_path, capsys):
    data = tmp_path / 'data'
    data.mkdir()
    cfg = toy_config(name, data)
    cfg.load_from, cfg.work_dir = None, str(tmp_path / 'runs' / 'toy')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    assert dry_run(cfg) == 0
    output = capsys.readouterr().out
    for mode in ('train', 'val', 'test'):
        assert re.search(rf'{mode} +\d+ records, [1-9]\d* steps, 0*[\d.]+ s per step', output), output
    assert 'whole training about' in output and 'GiB of the process' in output
    assert not list((tmp_path / 'runs').iterdir()), 'nothing is kept'


def test_a_few_batches_of_the_configs_own_loader():
    class Loader(list):
        batch_sampler = 'its own'

    first = _FirstBatches(Loader(range(9)), 3)
    assert list(first) == [0, 1, 2] and len(first) == 3 and first.batch_sampler == 'its own'
    assert len(_FirstBatches(Loader(range(2)), 3)) == 2


@pytest.mark.parametrize(('given', 'expected'), [
    (dict(type='EpochBasedTrainLoop', max_epochs=50, val_interval=5, iters_per_epoch=100, dynamic_intervals=[(40, 1)]),
     dict(type='EpochBasedTrainLoop', max_epochs=1, val_interval=1, iters_per_epoch=100)),
    (dict(by_epoch=False, max_iters=90000, val_interval=5000), dict(by_epoch=False, max_iters=3, val_interval=3))])
def test_the_training_is_short(given, expected):
    cfg = Config(dict(train_cfg=given, work_dir='w', default_hooks=dict(checkpoint=dict(interval=1, save_best='auto'))))
    short = shortened(cfg, 'elsewhere')
    assert dict(short.train_cfg) == expected
    assert short.work_dir == 'elsewhere' and cfg.train_cfg == given
    assert short.default_hooks.checkpoint == dict(type='CheckpointHook', interval=-1, save_last=False)
