"""What a run writes: console, file, JSON lines, TensorBoard; and that the numbers are the right ones."""
import json
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from maskforge.engine import Runner
from maskforge.engine.scalar_history import ScalarHistory
from maskforge.registry import HOOKS

NOISE = re.compile('Exp name|FileClient|HardDiskBackend|save_param_scheduler|paramwise_options|Get class')


@HOOKS.register_module(force=True)
class KeepMetrics(Hook):
    seen = []

    def after_val_epoch(self, runner, metrics=None):
        self.seen.append(dict(metrics))


def lines(work_dir):
    path, = Path(work_dir).glob('*/vis_data/2*.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def logged(config, tmp_path, capfd):
    def run(**changes):
        KeepMetrics.seen = []
        changes.setdefault('visualizer', dict(type='DetLocalVisualizer', vis_backends=[
            dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]))
        runner = Runner.from_cfg(Config(config(tmp_path, custom_hooks=[dict(type='KeepMetrics')],
                                               val_cfg=dict(val_loss=True), **changes)))
        runner.train()
        return runner, ''.join(capfd.readouterr()), lines(tmp_path)
    return run


def test_everything_is_there(logged, tmp_path):
    runner, console, records = logged()
    text = next(tmp_path.glob('*/*.log')).read_text()
    for place in (console, text):
        assert re.search(r'Epoch\(train\) +\[2\]\[5/6\] +lr: \S+ +eta: \S+ +time: \S+ +data_time: \S+ .*loss: ', place)
        assert re.search(r'Epoch\(val\) +\[3\]\[3/3\] .*toy/error: \S+ .*val_loss: ', place)
        assert not NOISE.search(place)
    train = [record for record in records if 'lr' in record]
    assert [record['step'] for record in train] == [5, 11, 17, 18]  # every fifth of an epoch, and the last of all
    assert {'epoch', 'iter', 'loss', 'loss_square', 'time', 'data_time', 'lr'} <= set(train[0])
    validation = [record for record in records if 'toy/error' in record]
    assert [record['step'] for record in validation] == [1, 2, 3]
    assert all(isinstance(buffer, ScalarHistory) for buffer in runner.message_hub.log_scalars.values())


def test_validation_loss_is_not_smoothed(logged):
    _, console, records = logged()
    measured = [metrics['val_loss'] for metrics in KeepMetrics.seen]
    assert len(set(measured)) == 3
    assert [record['val_loss'] for record in records if 'val_loss' in record] == measured
    assert f'val_loss: {measured[-1]:.4f}' in console


def test_tensorboard(logged, tmp_path):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    _, _, records = logged()
    events = EventAccumulator(str(next(tmp_path.glob('*/vis_data'))))
    events.Reload()
    assert [event.value for event in events.Scalars('loss')] == pytest.approx(
        [record['loss'] for record in records if 'lr' in record])
    assert len(events.Scalars('toy/error')) == len(events.Scalars('val_loss')) == 3


def test_iterations(logged):
    _, console, records = logged(train_cfg=dict(type='IterBasedTrainLoop', max_iters=12, val_interval=6),
                                 log_processor=dict(by_epoch=False), param_scheduler=None)
    assert re.search(r'Iter\(train\) +\[10/12\]', console)
    assert [record['step'] for record in records if 'lr' in record] == [5, 10, 12]
    assert [record['step'] for record in records if 'toy/error' in record] == [6, 12]


@pytest.mark.parametrize(('interval', 'steps'), [(1, [1, 2, 3]), (2, [2, 3]), (3, [3])])
def test_validation_every_so_many_epochs(logged, interval, steps):
    _, _, records = logged(train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=3, val_interval=interval))
    assert [record['step'] for record in records if 'toy/error' in record] == steps


def test_windows_longer_than_the_default_history(logged):
    runner, _, records = logged(log_processor=dict(custom_cfg=[
        dict(data_src='loss', log_name='epoch_loss', method_name='mean', window_size='epoch')]))
    assert runner.log_processor.history_length(runner) >= 6
    assert 'epoch_loss' in records[0]


def test_gradient_norm_is_logged_without_waiting(logged):
    runner, _, records = logged(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05), clip_grad=dict(max_norm=1)))
    assert all(record['grad_norm'] > 0 for record in records if 'lr' in record)
    assert torch.isfinite(torch.tensor(runner.message_hub.get_scalar('train/grad_norm').data[0])).all()
