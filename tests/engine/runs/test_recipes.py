"""Recipes with everything on, broken off and resumed, end where the unbroken run ends."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from maskforge.checkpoints import load_checkpoint
from maskforge.engine import Runner
from maskforge.registry import HOOKS

EVERYTHING = dict(
    optim_wrapper=dict(type='AmpOptimWrapper', dtype='bfloat16', accumulative_counts=4, clip_grad=dict(max_norm=1.0),
                       optimizer=dict(type='AdamW', lr=0.05, weight_decay=0.1),
                       paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys=dict(backbone=dict(lr_mult=0.1)))),
    param_scheduler=[dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=4),
                     dict(type='ReduceOnPlateauLR', monitor='toy/error', patience=0)],
    custom_hooks=[dict(type='EMAHook', momentum=0.1), dict(type='NaNGuardHook'),
                  dict(type='EarlyStoppingHook', monitor='toy/error', rule='less', patience=9)])


@HOOKS.register_module(force=True)
class Recorder(Hook):
    """Notes what every iteration did."""

    priority = 'LOWEST'
    rows = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        rates = [group['lr'] for group in runner.optim_wrapper.param_groups]
        self.rows.append((runner.iter, outputs['loss'].item(), rates))


def train(config, work_dir, *, epochs=4, recipe=EVERYTHING, resume=False, checkpoint=None, **changes):
    Recorder.rows = []
    recipe = {**recipe, **changes}
    hooks = [*recipe.pop('custom_hooks', []), dict(type='Recorder')]
    default_hooks = dict(checkpoint=dict(type='CheckpointHook', **(checkpoint or dict(interval=1))),
                         logger=dict(type='LoggerHook', interval=100))
    runner = Runner.from_cfg(Config(config(work_dir, train_cfg=dict(by_epoch=True, max_epochs=epochs), resume=resume,
                                           custom_hooks=hooks, default_hooks=default_hooks, **recipe)))
    runner.train()
    return runner, Recorder.rows


def assert_same(one, other):
    for key in ('state_dict', 'ema_state_dict'):
        left, right = (load_checkpoint(path).get(key, {}) for path in (one, other))
        assert left.keys() == right.keys()
        assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(('checkpoint', 'broken_at'), [(dict(interval=1), 'epoch_2.pth'),
                                                       (dict(interval=1, by_epoch=False), 'iter_9.pth')])
def test_resume_with_everything_on(config, tmp_path, checkpoint, broken_at):
    """Epoch 2 ends after a plateau was seen; iteration 9 is within an accumulation window."""
    _, whole = train(config, tmp_path / 'whole', checkpoint=checkpoint)
    source = tmp_path / 'whole' / broken_at
    _, rest = train(config, tmp_path / 'rest', checkpoint=checkpoint, resume=str(source))
    assert rest[0][0] == {'epoch_2.pth': 12, 'iter_9.pth': 9}[broken_at]
    assert rest == whole[rest[0][0]:]
    last = {'epoch_2.pth': 'epoch_4.pth', 'iter_9.pth': 'iter_24.pth'}[broken_at]
    assert_same(tmp_path / 'whole' / last, tmp_path / 'rest' / last)
    assert len({rates[0] for _, _, rates in whole[4:]}) > 1, 'the plateau must have been reached'


def test_a_longer_schedule_is_followed(config, tmp_path):
    def recipe(epochs):
        return dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05)),
                    param_scheduler=[dict(type='CosineAnnealingLR', T_max=epochs, end=epochs, eta_min=1e-4)])

    train(config, tmp_path / 'run', epochs=2, recipe=recipe(2))
    _, rows = train(config, tmp_path / 'run', epochs=4, recipe=recipe(4), resume=True)
    _, unbroken = train(config, tmp_path / 'whole', epochs=4, recipe=recipe(4))
    assert [rates for _, _, rates in rows] == [rates for _, _, rates in unbroken[12:]]


@pytest.mark.parametrize('scheduled', [True, False])
def test_the_scaled_rate_stays_right_on_resume(config, tmp_path, scheduled):
    recipe = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.08)),
                  param_scheduler=[dict(type='MultiStepLR', milestones=[1])] if scheduled else None)
    decayed = 0.1 if scheduled else 1.0

    def rates(base, **options):
        _, rows = train(config, tmp_path / 'run', recipe=recipe,
                        auto_scale_lr=dict(enable=True, base_batch_size=base), **options)
        return rows[-1][2][0]

    assert rates(16, epochs=2) == pytest.approx(0.08 * 4 / 16 * decayed)
    assert rates(16, epochs=3, resume=True) == pytest.approx(0.08 * 4 / 16 * decayed)
    # as if the run went on with another number of processes
    assert rates(8, epochs=4, resume=True) == pytest.approx(0.08 * 4 / 8 * decayed)


def test_the_best_checkpoint_is_the_averaged_model(config, tmp_path):
    runner, _ = train(config, tmp_path, epochs=3, checkpoint=dict(interval=1, save_best='toy/error', rule='less',
                                                                  max_keep_ckpts=1))
    best, = tmp_path.glob('best_toy_error_epoch_*.pth')
    assert 'ema_state_dict' in load_checkpoint(best)
    score = runner.message_hub.get_info('best_score')
    no_training = dict.fromkeys(('train_cfg', 'train_dataloader', 'optim_wrapper', 'param_scheduler'))
    tested = Runner.from_cfg(Config(config(tmp_path / 'test', load_from=str(best), **no_training,
                                           custom_hooks=EVERYTHING['custom_hooks'][:1])))
    assert tested.val()['toy/error'] == pytest.approx(score, rel=1e-6)


def test_divergence_is_reported_and_not_saved(config, tmp_path):
    recipe = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e20)), param_scheduler=None,
                  custom_hooks=[dict(type='NaNGuardHook')])
    with pytest.raises(FloatingPointError, match=r'loss_square is (nan|inf).* at iteration \d+ \(epoch 1\)'):
        train(config, tmp_path, recipe=recipe)
    assert not list(Path(tmp_path).glob('epoch_*.pth'))


@pytest.mark.parametrize(('options', 'warned', 'names'), [
    (dict(interval=1, by_epoch=True), True, ['epoch_1.pth']), (dict(interval=4), False, ['iter_4.pth', 'iter_6.pth'])])
def test_the_unit_of_checkpoints_in_a_loop_of_iterations(config, tmp_path, capfd, options, warned, names):
    Runner.from_cfg(Config(config(
        tmp_path, train_cfg=dict(type='IterBasedTrainLoop', max_iters=6, val_interval=6), param_scheduler=None,
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', **options))))).train()
    assert ('CheckpointHook counts epochs' in ''.join(capfd.readouterr())) == warned
    assert sorted(path.name for path in tmp_path.glob('*_[0-9].pth')) == names
