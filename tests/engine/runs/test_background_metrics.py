"""Metrics that work beside the predictions: the same values, the metric's own errors, nothing that stays."""
import copy
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import pytest
import torch
from interrupted_runs import free_port
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from strategy_runs import drawn_shapes
from tiny_detr import tiny_detr_config
from tiny_mask2former import tiny_mask2former_config
from tiny_rcnn import tiny_config

from maskforge.engine import Runner
from maskforge.evaluation import GatheredMetric
from maskforge.registry import HOOKS, METRICS

FAMILIES = ('mask_rcnn', 'deformable_detr', 'mask2former')


@METRICS.register_module(force=True)
class WatchedMetric(BaseMetric):
    """Notes where it works; slow enough to fall behind."""

    default_prefix = 'watched'

    def __init__(self, fails_at=None):
        super().__init__()
        self.threads, self.with_gradients, self.fails_at = set(), set(), fails_at

    def process(self, data_batch, data_samples):
        time.sleep(0.01)
        self.threads.add(threading.current_thread())
        self.with_gradients.add(torch.is_grad_enabled())
        if len(self.results) == self.fails_at:
            raise LookupError('no such category')
        self.results.append([sample.tolist() for sample in data_samples])

    def compute_metrics(self, results):
        assert threading.current_thread() is threading.main_thread()
        return dict(all=copy.copy(results))


@HOOKS.register_module(force=True)
class AtBatch(Hook):
    """Does something after a batch of the validation."""

    def __init__(self, batch, action):
        self.batch, self.action = batch, action

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if batch_idx == self.batch:
            self.action()


@pytest.fixture
def make(config, tmp_path):
    """A runner that is ready to validate six batches."""
    def build(background=None, *, hooks=(), **metric):
        cfg = config(tmp_path, val_cfg=dict(background_metrics=background, val_loss=True), custom_hooks=list(hooks),
                     val_evaluator=[dict(type='WatchedMetric', **metric), dict(type='ToyMetric')])
        cfg['val_dataloader'].update(batch_size=2)
        return Runner.from_cfg(cfg)
    return build


def watched(runner):
    return runner.val_loop.evaluator.metrics[0]


@pytest.fixture(autouse=True)
def _no_thread_stays():
    before = threading.active_count()
    yield
    assert threading.active_count() <= before


@pytest.mark.parametrize('background', [None, True, False])
def test_the_thread_sees_what_the_loop_saw(make, background):
    runner = make(background)
    first, second = runner.val(), runner.val()
    direct = make(False).val()
    assert first == second == direct and len(first['watched/all']) == 6 and first['toy/count'] == 11
    metric = watched(runner)
    assert metric.with_gradients == {False}
    assert (threading.main_thread() in metric.threads) == (background is not True), 'on CPUs the cores are shared'


def test_a_model_on_a_gpu_turns_it_on(make, monkeypatch):
    monkeypatch.setattr(torch.nn.Parameter, 'is_cuda', True)
    runner = make(None)
    assert runner.val_loop._in_background()
    runner.val_loop.background_metrics = False
    assert not runner.val_loop._in_background()


@pytest.mark.parametrize('fails_at', [0, 2, 5], ids=['first', 'middle', 'last'])
def test_an_error_of_a_metric(make, fails_at):
    runner = make(True, fails_at=fails_at)
    with pytest.raises(LookupError, match='no such category') as caught:
        runner.val()
    assert 'in process' in ''.join(traceback.format_tb(caught.value.__traceback__))
    assert len(watched(runner).results) == fails_at


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_an_error_elsewhere(make, error):
    def fail():
        raise error('elsewhere')
    runner = make(True, hooks=[dict(type='AtBatch', batch=3, action=fail)])
    with pytest.raises(error, match='elsewhere'):
        runner.val()
    assert len(watched(runner).results) <= 4


def test_a_signal(make):
    runner = make(True, hooks=[dict(type='AtBatch', batch=3, action=lambda: signal.raise_signal(signal.SIGTERM))])
    runner.interruption.signum = 0
    with pytest.raises(SystemExit):
        runner.train()
    assert watched(runner).results == []


@pytest.mark.parametrize('family', FAMILIES)
def test_families_score_the_same(family, tmp_path, monkeypatch):
    kept, compute = [], GatheredMetric._unique
    monkeypatch.setattr(GatheredMetric, '_unique', lambda *given: kept.append(compute(*given)) or kept[-1])
    runner = Runner.from_cfg(family_config(family, drawn_shapes(tmp_path), tmp_path))
    found = []
    for background in (False, True):
        runner.val_loop.background_metrics = background
        found.append(runner.val())
    assert found[0] == found[1] and len(found[0]) >= 6
    half = len(kept) // 2
    assert len(kept[0]) == 5 and repr(kept[:half]) == repr(kept[half:])


def family_config(family, drawn, work_dir):
    """Untrained models whose weak predictions count, in batches of one."""
    if family == 'mask2former':
        config = tiny_mask2former_config(drawn, work_dir, 'panoptic', batch_size=1, model=dict(
            mode=['panoptic', 'instance'], object_mask_threshold=0.))
    else:
        config = tiny_detr_config(drawn, work_dir, batch_size=1)
    if family == 'mask_rcnn':
        config['model'] = tiny_config(num_classes=len(drawn.classes))
        config['model'].test_cfg.rcnn.score_thr = 0.
        config['val_dataloader']['dataset']['pipeline'][1].update(with_mask=True)
    boxes = dict(type='CocoMetric', ann_file=str(drawn.annotations['val']), prefix='boxes',
                 metric=['bbox'] if family == 'deformable_detr' else ['bbox', 'segm'])
    config['val_evaluator'] = [config['val_evaluator'], boxes]
    config['val_cfg'] = dict(type='ValLoop')
    return config


@pytest.mark.slow
def test_families_score_the_same_on_two_processes(tmp_path):
    environment = dict(os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='-1', PYTHONPATH=os.pathsep.join(sys.path))
    launch = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', f'--master_port={free_port()}']
    done = subprocess.run([*launch, __file__, tmp_path], env=environment, capture_output=True, text=True, timeout=240,
                          check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    drawn = drawn_shapes(tmp_path)
    for family in FAMILIES:
        alone = Runner.from_cfg(family_config(family, drawn, tmp_path / 'alone')).val()
        beside, direct = json.loads((tmp_path / f'{family}.json').read_text())
        assert beside == direct == alone


def score_on_two_processes(folder):
    """What ``test_families_score_the_same_on_two_processes`` starts."""
    drawn = drawn_shapes(folder / f'rank{os.environ["RANK"]}')
    for family in FAMILIES:
        runner = Runner.from_cfg(dict(family_config(family, drawn, folder / 'two'), launcher='pytorch'))
        found = []
        for background in (True, False):
            runner.val_loop.background_metrics = background
            found.append(runner.val())
        if runner.rank == 0:
            (folder / f'{family}.json').write_text(json.dumps(found))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == '__main__':
    torch.set_num_threads(1)
    score_on_two_processes(Path(sys.argv[1]))
