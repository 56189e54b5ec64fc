"""A run that is interrupted and resumed ends with the same bits as an unbroken one."""
import pytest
import torch
from interrupted_runs import Interrupted

from maskforge.analysis.checkpoint_difference import checkpoint_differences
from maskforge.checkpoints import load_checkpoint
from maskforge.engine import Runner


def by_iteration(interval):
    return dict(checkpoint=dict(type='CheckpointHook', interval=interval, by_epoch=False),
                logger=dict(type='LoggerHook', interval=5))


def with_workers(config, workers):
    config['train_dataloader'].update(num_workers=workers, persistent_workers=False)
    return config


def unbroken_and_resumed(config, tmp_path, stop, **changes):
    """Train twice; returns both final checkpoints."""
    finals = []
    for name, hooks in (('unbroken', []), ('broken', [dict(type='BreakOff', iteration=stop)])):
        runner = Runner.from_cfg(config(tmp_path / name, custom_hooks=hooks, **changes))
        if not hooks:
            runner.train()
        else:
            with pytest.raises(Interrupted):
                runner.train()
            torch.manual_seed(99)  # whatever the new process does before it resumes
            runner = Runner.from_cfg(config(tmp_path / name, resume=True, **changes))
            runner.train()
        finals.append(runner)
    return finals


def assert_same(first, second):
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name
    states = [runner.optim_wrapper.optimizer.state_dict() for runner in (first, second)]
    assert states[0]['param_groups'] == states[1]['param_groups']
    for key, entry in states[0]['state'].items():
        for name, value in entry.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(states[1]['state'][key][name]))
    assert first.iter == second.iter and first.epoch == second.epoch


@pytest.mark.parametrize(('hooks', 'stop', 'workers'), [
    pytest.param(by_iteration(4), 9, 0, id='within an epoch'),
    pytest.param(by_iteration(4), 9, 2, id='within an epoch, 2 workers'),
    pytest.param(by_iteration(6), 7, 0, id='last iteration of an epoch'),
    pytest.param(dict(checkpoint=dict(type='CheckpointHook', interval=1)), 8, 2, id='end of an epoch, 2 workers'),
])
def test_epoch_loop(config, tmp_path, hooks, stop, workers):
    def build(*args, **kwargs):
        return with_workers(config(*args, **kwargs), workers)
    assert_same(*unbroken_and_resumed(build, tmp_path, stop, default_hooks=hooks))


@pytest.mark.parametrize('stop', [4, 11])
def test_accumulated_gradients(config, tmp_path, stop):
    optim = dict(optimizer=dict(type='AdamW', lr=0.01), accumulative_counts=4, clip_grad=dict(max_norm=1.0))
    runs = unbroken_and_resumed(config, tmp_path, stop, optim_wrapper=optim, default_hooks=by_iteration(3))
    assert_same(*runs)


@pytest.mark.parametrize(('sampler', 'workers'), [('InfiniteSampler', 2), ('DefaultSampler', 0)])
def test_iteration_loop(config, tmp_path, sampler, workers):
    def build(*args, **kwargs):
        result = with_workers(config(*args, **kwargs), workers)
        result['train_dataloader']['sampler'] = dict(type=sampler, shuffle=True)
        return result
    runs = unbroken_and_resumed(build, tmp_path, 9, default_hooks=by_iteration(4),
                                train_cfg=dict(by_epoch=False, max_iters=15, val_interval=4))
    assert_same(*runs)


def test_seed_that_nobody_chose_is_continued(config, tmp_path):
    runs = unbroken_and_resumed(config, tmp_path, 9, default_hooks=by_iteration(4), randomness=dict(seed=None))
    broken = load_checkpoint(tmp_path / 'broken' / 'iter_8.pth')
    assert runs[1].seed == broken['meta']['seed'] != runs[0].seed


def test_samplers_and_batch_samplers_of_users(config, tmp_path):
    def build(*args, **kwargs):
        result = config(*args, **kwargs)
        result['train_dataloader'].update(sampler=dict(type='mmengine.DefaultSampler', shuffle=True))
        return result
    assert_same(*unbroken_and_resumed(build, tmp_path, 9, default_hooks=by_iteration(4)))


def test_only_indices_are_skipped(config, tmp_path):
    with pytest.raises(Interrupted):
        Runner.from_cfg(config(tmp_path, custom_hooks=[dict(type='BreakOff', iteration=5)],
                               default_hooks=by_iteration(4))).train()
    runner = Runner.from_cfg(config(tmp_path, resume=True, default_hooks=by_iteration(4),
                                    train_cfg=dict(by_epoch=True, max_epochs=1)))
    runner.train()
    assert len(runner.train_dataloader.dataset.seen) == 22 - 16


def test_epochs_draw_different_augmentations(config, tmp_path):
    runner = Runner.from_cfg(config(tmp_path))
    loader = runner.build_dataloader(config(tmp_path)['val_dataloader'] | dict(
        dataset=dict(type='ToyDataset', size=4), sampler=dict(type='DefaultSampler', shuffle=False), num_workers=1),
        seed=3)
    epochs = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        epochs.append(next(iter(loader))[0])
    assert not torch.equal(*epochs)


def test_validation_does_not_touch_the_randomness_of_training(config, tmp_path):
    runs = []
    for name, interval in (('every', 1), ('never', 100)):
        runner = Runner.from_cfg(config(tmp_path / name, train_cfg=dict(by_epoch=True, max_epochs=2,
                                                                        val_interval=interval),
                                        val_cfg=dict(val_loss=True)))
        runner.train()
        runs.append(runner)
    assert_same(*runs)


def test_validation_that_was_cut_off_is_made_up_for(config, tmp_path, monkeypatch):
    from maskforge.engine.loops import ValLoop
    calls = []
    original = ValLoop.run

    def run(self):
        calls.append(self.runner.epoch)
        if len(calls) == 2:
            raise Interrupted
        return original(self)

    monkeypatch.setattr(ValLoop, 'run', run)
    with pytest.raises(Interrupted):
        Runner.from_cfg(config(tmp_path)).train()
    Runner.from_cfg(config(tmp_path, resume=True)).train()
    assert calls == [1, 2, 2, 3]


def test_a_finished_run_is_not_written_again(config, tmp_path):
    """Killed between the last checkpoint and the end, it ends with the file that an unbroken one has."""
    changes = dict(default_hooks=by_iteration(5))
    whole = Runner.from_cfg(config(tmp_path, **changes))
    whole.train()
    path = tmp_path / f'iter_{whole.iter}.pth'
    before = path.read_bytes()
    Runner.from_cfg(config(tmp_path, resume=True, **changes)).train()
    assert path.read_bytes() == before


@pytest.mark.parametrize('stop', [5, 9, 12, 13])
def test_plateau_of_the_training_loss(config, tmp_path, stop):
    """The mean spans the break, also where the break lies within the epoch or right after a validation."""
    schedule = dict(type='AutoReduce', monitor='train_loss', patience=0, threshold=0.5)
    runs = unbroken_and_resumed(config, tmp_path, stop, default_hooks=by_iteration(2), param_scheduler=[schedule])
    assert_same(*runs)
    states = [runner.param_schedulers[0].state_dict() for runner in runs]
    assert states[0] == states[1] and states[0]['plateau']['reductions'] > 0


def own_epoch_length(length):
    return dict(by_epoch=True, max_epochs=4, val_interval=2, iters_per_epoch=length)


@pytest.mark.parametrize('length', [4, 9])
@pytest.mark.parametrize('stop', [7, 11])
def test_epochs_of_a_fixed_length(config, tmp_path, length, stop):
    runs = unbroken_and_resumed(config, tmp_path, stop, default_hooks=by_iteration(3),
                                train_cfg=own_epoch_length(length))
    assert_same(*runs)
    assert runs[0].iter == 4 * length and runs[0].epoch == 4
    seen = runs[0].train_dataloader.dataset.seen
    assert len(seen) == 16 * length
    counts = [seen.count(index) for index in range(22)]
    assert max(counts) - min(counts) <= 1, 'an epoch takes up where the one before has stopped'


@pytest.mark.parametrize(('length', 'loader', 'message'), [
    (0, {}, 'must be a positive whole number'),
    (2.5, {}, 'must be a positive whole number'),
    (5, dict(sampler=dict(type='DefaultSampler', num_samples=8)), 'sets the length of an epoch too'),
    (5, dict(num_batch_per_epoch=3), 'sets the length of an epoch too'),
    (5, dict(sampler=dict(type='InfiniteSampler')), 'InfiniteSampler has epochs of the length of the data set')])
def test_fixed_lengths_that_cannot_be(config, tmp_path, length, loader, message):
    changed = config(tmp_path, train_cfg=own_epoch_length(length))
    changed['train_dataloader'].update(loader)
    with pytest.raises(ValueError, match=message):
        Runner.from_cfg(changed).train()


SCALED = dict(type='AmpOptimWrapper', dtype='float16', loss_scale=dict(init_scale=2.0**12, growth_interval=4),
              optimizer=dict(type='AdamW', lr=0.01), accumulative_counts=3, clip_grad=dict(max_norm=1.0))


@pytest.mark.parametrize('train_cfg', [dict(by_epoch=True, max_epochs=3, val_interval=1),
                                       dict(by_epoch=False, max_iters=18, val_interval=5)])
@pytest.mark.parametrize('stop', [8, 12])
def test_all_states_at_once(config, tmp_path, train_cfg, stop):
    """Loss scale, average of the weights, open window, place in the data, augmentation, messages, schedules."""
    def build(folder, custom_hooks=(), **changes):
        return config(folder, custom_hooks=[dict(type='EMAHook', momentum=0.1), *custom_hooks], **changes)
    runs = unbroken_and_resumed(build, tmp_path, stop, optim_wrapper=SCALED, train_cfg=train_cfg,
                                default_hooks=by_iteration(2))
    name = f'iter_{runs[0].iter}.pth'
    assert checkpoint_differences(tmp_path / 'unbroken' / name, tmp_path / 'broken' / name) == []
    content = load_checkpoint(tmp_path / 'unbroken' / name)
    assert {'ema_state_dict', 'random_state', 'message_hub', 'param_schedulers'} <= set(content)
    assert content['optimizer']['loss_scaler']['scale'] != 2.0**12, 'the scale has moved'
    assert len(content['message_hub']['log_scalars']['train/loss']['values']) == runs[0].iter


def test_a_difference_is_found(config, tmp_path):
    Runner.from_cfg(config(tmp_path, train_cfg=dict(by_epoch=True, max_epochs=1))).train()
    content = load_checkpoint(tmp_path / 'epoch_1.pth')
    content['state_dict']['bbox_head.weight'][0, 0] += 1e-6
    content['meta']['iter'] += 1
    content['message_hub']['log_scalars']['train/time']['values'] += 1
    del content['random_state']
    torch.save(content, tmp_path / 'changed.pth')
    assert checkpoint_differences(tmp_path / 'epoch_1.pth', tmp_path / 'changed.pth') == [
        'meta.iter', 'state_dict.bbox_head.weight', 'random_state']


@pytest.mark.parametrize('train_cfg', [dict(by_epoch=True, max_epochs=3, val_interval=3),
                                       dict(by_epoch=False, max_iters=18, val_interval=18)])
def test_another_number_of_processes(config, tmp_path, train_cfg, monkeypatch):
    """A checkpoint of two processes with two samples each continues on one process with four, and says what changes."""
    with pytest.raises(Interrupted):
        Runner.from_cfg(config(tmp_path, custom_hooks=[dict(type='BreakOff', iteration=5)],
                               default_hooks=by_iteration(4), train_cfg=train_cfg)).train()
    content = load_checkpoint(tmp_path / 'iter_4.pth')
    content['meta'].update(world_size=2)
    content['random_state'] = content['random_state'] * 2
    torch.save(content, tmp_path / 'iter_4.pth')
    runner = Runner.from_cfg(config(tmp_path, resume=True, default_hooks=by_iteration(4), train_cfg=train_cfg))
    log = []
    monkeypatch.setattr(runner.logger, 'warning', lambda text, *_: log.append(text))
    runner.train()
    said = [line for line in log if '2 processes when the checkpoint was written, 1 now' in line]
    assert len(said) == 1 and 'the records that follow are dealt anew' in said[0]
    assert runner.iter == 18 and len(set(runner.train_dataloader.dataset.seen[:2])) == 2
