"""The averaged weights: in validation, in checkpoints, after a resume."""
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from maskforge.checkpoints import load_checkpoint
from maskforge.engine import averaged_model
from maskforge.engine.hooks import CheckpointHook, EMAHook


class Move(Hook):
    """Sets the weights to the number of the iteration."""

    priority = 'VERY_HIGH'
    seen = None

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        with torch.no_grad():
            runner.model.weight.fill_(runner.iter + 1.0)

    def after_val_epoch(self, runner, metrics=None):
        self.seen = runner.model.weight[0, 0].item()


def average(count, momentum=0.5):
    value = 1.0
    for number in range(2, count + 1):
        value = value * (1 - momentum) + number * momentum
    return value


def test_checkpoint_holds_both(make_runner):
    runner = make_runner(Move(), EMAHook(momentum=0.5), CheckpointHook(interval=1), epochs=1)
    runner.call_hook('before_run')
    runner.train()
    stored = load_checkpoint(Path(runner.work_dir) / 'epoch_1.pth')
    assert stored['state_dict']['weight'][0, 0] == pytest.approx(average(3))
    assert stored['ema_state_dict']['module.weight'][0, 0] == 3.0
    assert runner.model.weight[0, 0] == 3.0


def test_resume_is_exact(make_runner):
    def build(epochs, folder):
        runner = make_runner(Move(), EMAHook(momentum=0.5), CheckpointHook(interval=1), epochs=epochs, folder=folder)
        runner.call_hook('before_run')
        return runner

    whole, first, second = build(2, 'whole'), build(1, 'first'), build(2, 'second')
    whole.train()
    first.train()
    checkpoint = load_checkpoint(Path(first.work_dir) / 'epoch_1.pth')
    second._resume = True
    second.call_hook('after_load_checkpoint', checkpoint=checkpoint)
    second.model.load_state_dict(checkpoint['state_dict'])
    assert second.model.weight[0, 0] == 3.0  # the live weights, not the average
    second.epoch, second.iter = 1, 3
    second.train()
    for key in ('state_dict', 'ema_state_dict'):
        one, other = (load_checkpoint(Path(r.work_dir) / 'epoch_2.pth')[key] for r in (whole, second))
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_validation_sees_the_average(make_runner):
    move, ema = Move(), EMAHook(momentum=0.5)
    runner = make_runner(move, ema, epochs=1)
    runner.call_hook('before_run')
    runner.train()
    ema._training = True
    runner.call_hook('before_val_epoch')
    assert runner.model.weight[0, 0].item() == pytest.approx(average(3))
    runner.call_hook('after_val_epoch', metrics={})
    assert move.seen == pytest.approx(average(3)) and runner.model.weight[0, 0] == 3.0


def test_outside_of_training_nothing_is_swapped(make_runner):
    runner = make_runner(EMAHook())
    runner.call_hook('before_run')
    with torch.no_grad():
        runner.model.weight.fill_(7.0)  # the averaged weights of a checkpoint, loaded after `before_run`
    runner.call_hook('before_test_epoch')
    assert runner.model.weight[0, 0] == 7.0


def test_a_run_from_other_weights_averages_from_these(make_runner):
    ema = EMAHook()
    runner = make_runner(ema)
    runner.call_hook('before_run')
    with torch.no_grad():
        runner.model.weight.fill_(7.0)
    runner.call_hook('after_load_checkpoint', checkpoint=dict(state_dict={'other.layout': torch.zeros(1)}))
    runner.call_hook('before_train')
    assert ema.ema_model.module.weight[0, 0] == 7.0


def test_once_per_update(make_runner):
    ema = EMAHook(momentum=0.5)
    runner = make_runner(ema, epochs=1, length=4)
    runner.optim_wrapper._accumulative_counts = 2

    class Count(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            runner.optim_wrapper._inner_count += 1

    runner.hooks.insert(0, Count())
    runner.call_hook('before_run')
    runner.train()
    assert ema.ema_model.steps == 2


@pytest.mark.parametrize(('options', 'word'), [(dict(begin_epoch=9), 'behind the end of the training .4 epochs'),
                                               (dict(begin_iter=99), 'behind the end of the training .12 iter')])
def test_begin_behind_the_end(make_runner, options, word):
    runner = make_runner(EMAHook(**options))
    runner.call_hook('before_run')
    with pytest.raises(ValueError, match=word):
        runner.call_hook('before_train')


def test_two_begins():
    with pytest.raises(ValueError, match='not both'):
        EMAHook(begin_iter=1, begin_epoch=1)


@pytest.mark.parametrize('name', ['ExponentialMovingAverage', 'MomentumAnnealingEMA'])
def test_averages_move_in_one_operation(name, make_runner):
    hook = EMAHook(name)
    make_runner(hook).call_hook('before_run')
    assert type(hook.ema_model) is getattr(averaged_model, name)
