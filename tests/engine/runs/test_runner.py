"""The runner's settings: what it accepts, refuses, and says."""
import signal

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from torch import nn

from maskforge.checkpoints import load_checkpoint, save_checkpoint
from maskforge.engine import Runner
from maskforge.registry import HOOKS, LOOPS

SHORT = dict(train_cfg=dict(by_epoch=True, max_epochs=1))


@pytest.fixture
def log(monkeypatch):
    """Everything that runners log, as one text."""
    import logging
    lines = []
    original = logging.Logger.handle
    monkeypatch.setattr(logging.Logger, 'handle',
                        lambda self, record: (lines.append(record.getMessage()), original(self, record)))

    class Log:
        def __contains__(self, text):
            return any(text in line for line in lines)

        def count(self, text):
            return sum(text in line for line in lines)
    return Log()


@HOOKS.register_module(force=True)
class Raise(Hook):
    """Sends this process a signal after an iteration."""

    def __init__(self, signum, iteration, stage='train'):
        self.signum, self.iteration, self.stage = signum, iteration, stage

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if self.stage == 'train' and runner.iter + 1 == self.iteration:
            signal.raise_signal(self.signum)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if self.stage == 'val' and runner.iter == self.iteration:
            signal.raise_signal(self.signum)


# settings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('change', 'text'), [
    (dict(train_cfg=dict(max_epochs=1)), "train_cfg needs either 'type' or 'by_epoch'"),
    (dict(train_cfg=dict(by_epoch=True, type='EpochBasedTrainLoop', max_epochs=1)), 'train_cfg needs either'),
    (dict(train_cfg=dict(by_epoch=True, max_epochs=1.5)), 'max_epochs must be a whole number'),
    (dict(train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=0)), 'val_interval must be at least 1'),
    (dict(model=None), "the config has no 'model'"),
    (dict(freeze=['bakbone']), "freeze names 'bakbone'.*near ones: backbone"),
    (dict(freeze=['backbone', 'bbox_head']), 'leaves nothing to train'),
    (dict(model=dict(type='ToyModel', num_classes=80)),
     r'model\.bbox_head\.num_classes=80, but train_dataloader\.dataset has 2 classes \(a, b\)'),
    (dict(launcher='mpi'), "launcher='mpi' is not supported"),
    (dict(launcher='pytorch'), "launcher='pytorch' needs the environment variables"),
    (dict(launcher='slurm'), "launcher='slurm' needs the environment variables"),
    (dict(compile=dict(modules=['neckk'])), "compile.modules names 'neckk'"),
    (dict(randomness=dict(seed=-1)), r'randomness.seed must be a whole number from 0 to 2\*\*32 - 1, got -1'),
    (dict(randomness=dict(seed=0.5)), r'randomness.seed must be a whole number'),
    (dict(auto_scale_lr=dict(enable=True)), r'Add auto_scale_lr=dict\(enable=True, base_batch_size=16\)'),
])
def test_errors(config, tmp_path, change, text):
    with pytest.raises(ValueError, match=text):
        Runner.from_cfg(config(tmp_path, **change)).train()


@pytest.mark.parametrize('key', ['dataset', 'sampler'])
def test_loader_without_a_part(config, tmp_path, key):
    cfg = config(tmp_path)
    del cfg['train_dataloader'][key]
    with pytest.raises(ValueError, match=f"lacks '{key}'"):
        Runner.from_cfg(cfg).train()


def test_no_batches(config, tmp_path):
    cfg = config(tmp_path)
    cfg['train_dataloader'].update(drop_last=True, batch_size=100)
    with pytest.raises(ValueError, match='gives no batches: its data set has 22 records'):
        Runner.from_cfg(cfg).train()


@pytest.mark.parametrize(('accumulative', 'factor'), [(1, 0.5), (4, 2.0)])
def test_auto_scale_lr(config, tmp_path, log, accumulative, factor):
    cfg = config(tmp_path, auto_scale_lr=dict(enable=True, base_batch_size=8), param_scheduler=None, **SHORT)
    cfg['optim_wrapper']['accumulative_counts'] = accumulative
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.optim_wrapper.param_groups[0]['lr'] == pytest.approx(0.05 * factor)
    assert f'1 processes x 4 images x {accumulative} accumulated = batch {4 * accumulative}; base_batch_size 8' in log


def test_four_processes_of_two_images_at_base_16_halve_the_rate():
    from maskforge.engine.learning_rate_scaling import scaling
    assert scaling(dict(base_batch_size=16), world_size=4, batch_size=2, accumulative_counts=1)[0] == 0.5


def test_frozen_modules_stand_still(config, tmp_path):
    cfg = config(tmp_path, freeze=['backbone.0'], **SHORT)
    cfg['model']['freeze'] = ['backbone.1']
    runner = Runner.from_cfg(cfg)
    before = {name: tensor.clone() for name, tensor in runner.model.state_dict().items()}
    runner.train()
    for name, tensor in runner.model.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith('backbone')


def test_compile_keeps_the_names(config, tmp_path, log):
    runner = Runner.from_cfg(config(tmp_path, compile=dict(backend='eager'), **SHORT))
    names = set(runner.model.state_dict())
    runner.train()
    assert set(runner.model.state_dict()) == names
    assert 'torch.compile is on for backbone, neck' in log


def test_runs_of_one_second_have_names_of_their_own(config, tmp_path):
    runners = [Runner.from_cfg(config(tmp_path)) for _ in range(3)]
    assert len({runner.experiment_name for runner in runners}) == 3
    assert len({runner.log_dir for runner in runners}) == 3
    assert len({id(runner.message_hub) for runner in runners}) == 3


def test_a_config_with_a_function_in_it(config, tmp_path):
    cfg = Config(config(tmp_path, **SHORT))
    cfg.train_dataloader.collate_fn = torch.utils.data.default_collate
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert 'default_collate' in load_checkpoint(tmp_path / 'epoch_1.pth')['meta']['cfg']


def test_the_merged_config_is_written(config, tmp_path):
    path = tmp_path / 'my_config.py'
    Config(config(tmp_path / 'run')).dump(path)
    cfg = Config.fromfile(path)
    cfg.merge_from_dict({'optim_wrapper.optimizer.lr': 0.125})
    Runner.from_cfg(cfg)
    assert Config.fromfile(tmp_path / 'run' / 'my_config.py').optim_wrapper.optimizer.lr == 0.125


def test_persistent_workers_without_workers(config, tmp_path, log):
    cfg = config(tmp_path, **SHORT)
    cfg['train_dataloader'].update(persistent_workers=True)
    Runner.from_cfg(cfg).train()
    assert 'persistent_workers=True has no effect' in log


def test_sync_batchnorm_becomes_batchnorm_on_one_process(config, tmp_path):
    from maskforge.engine.model_preparation import revert_sync_batchnorm
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.SyncBatchNorm(4))
    keys = set(model.state_dict())
    reverted = revert_sync_batchnorm(model)
    assert set(reverted.state_dict()) == keys
    assert reverted(torch.rand(2, 3, 4, 4)).shape == (2, 4, 4, 4)


def test_export_loop(config, tmp_path):
    @LOOPS.register_module(force=True)
    class ToyExportLoop:
        def __init__(self, runner, suffix):
            self.runner, self.suffix = runner, suffix

        def run(self):
            return f'{self.runner.model_name}{self.suffix}'

    runner = Runner.from_cfg(config(tmp_path, export_cfg=dict(type='ToyExportLoop', suffix='.onnx')))
    assert runner.export() == 'ToyModel.onnx'
    with pytest.raises(ValueError, match="no 'export_cfg'"):
        Runner.from_cfg(config(tmp_path)).export()


def test_model_knows_its_classes(config, tmp_path):
    runner = Runner.from_cfg(config(tmp_path))
    runner.val()
    assert runner.model.dataset_meta['category_ids'] == (3, 7)


# resume and load -----------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(config, tmp_path):
    """A finished run of one epoch; returns its work_dir."""
    Runner.from_cfg(config(tmp_path / 'first', **SHORT)).train()
    return tmp_path / 'first'


def test_checkpoint_content(trained):
    checkpoint = load_checkpoint(trained / 'epoch_1.pth')
    assert set(checkpoint) == {'meta', 'state_dict', 'message_hub', 'optimizer', 'param_schedulers', 'random_state'}
    meta = checkpoint['meta']
    assert (meta['epoch'], meta['iter'], meta['seed'], meta['world_size']) == (1, 6, 7, 1)
    assert meta['dataset_meta']['category_ids'] == (3, 7)
    assert meta['position']['iters_per_epoch'] == 6
    assert 'ToyModel' in meta['cfg']
    assert meta['torch_version'] == torch.__version__.split('+')[0]


def test_load_from_starts_over(config, tmp_path, trained):
    runner = Runner.from_cfg(config(tmp_path / 'second', load_from=str(trained / 'epoch_1.pth'),
                                    train_cfg=dict(by_epoch=True, max_epochs=0), param_scheduler=None))
    runner.train()
    assert runner.iter == 0
    assert torch.equal(runner.model.bbox_head.weight,
                       load_checkpoint(trained / 'epoch_1.pth')['state_dict']['bbox_head.weight'])


def test_load_skip(config, tmp_path, trained):
    """Skipped weights stay as they were initialised, but for tests, which take all of the file."""
    stored = load_checkpoint(trained / 'epoch_1.pth')['state_dict']

    def run(name, skip, **changes):
        return Runner.from_cfg(config(tmp_path / name, load_from=str(trained / 'epoch_1.pth'), load_skip=skip,
                                      load_min_matched=0.1, **changes))

    runner = run('second', ['bbox_head.w*'], train_cfg=dict(by_epoch=True, max_epochs=0), param_scheduler=None)
    runner.train()
    weights = runner.model.state_dict()
    equal = {name for name in stored if torch.equal(weights[name], stored[name])}
    assert equal == {name for name in stored if not name.startswith('bbox_head.w')}
    with pytest.raises(ValueError, match=r"load_skip: no name in the file fits 'box_head\.\*'; near names: bbox_head"):
        run('third', ['box_head.*'], train_cfg=dict(by_epoch=True, max_epochs=0), param_scheduler=None).train()
    tested = run('fourth', ['bbox_head.*'])
    tested.load_or_resume()
    assert all(torch.equal(tensor, stored[name]) for name, tensor in tested.model.state_dict().items())


@pytest.mark.parametrize(('resume', 'load_from', 'starts_at'), [
    (True, 'file', 6), ('file', None, 6), ('auto', 'file', 0), ('auto', None, 0), (True, None, 0)])
def test_where_a_run_starts(config, tmp_path, trained, log, resume, load_from, starts_at):
    path = str(trained / 'epoch_1.pth')
    runner = Runner.from_cfg(config(tmp_path / 'other', resume=path if resume == 'file' else resume,
                                    load_from=path if load_from else None,
                                    train_cfg=dict(by_epoch=True, max_epochs=1)))
    runner.load_or_resume_started = []
    original = runner.load_or_resume

    def spy():
        original()
        runner.load_or_resume_started.append(runner.iter)
    runner.load_or_resume = spy
    runner.train()
    assert runner.load_or_resume_started == [starts_at]
    assert ('holds no checkpoint' in log) == (starts_at == 0 and load_from is None)


def test_auto_goes_before_load_from(config, tmp_path, trained, log):
    runner = Runner.from_cfg(config(trained, resume='auto', load_from=str(tmp_path / 'missing.pth')))
    runner.train()
    assert 'epoch_1.pth at epoch 1, iteration 6' in log and runner.iter == 18


def test_an_unused_checkpoint_is_mentioned(config, trained, log):
    Runner.from_cfg(config(trained, **SHORT)).train()
    assert 'holds checkpoints of an earlier run' in log


def test_resume_from_a_moved_folder(config, tmp_path, trained, log):
    trained.rename(tmp_path / 'moved')
    Runner.from_cfg(config(tmp_path / 'moved', resume=True)).train()
    assert 'continuing' in log


def test_resume_passes_over_a_torn_file(config, trained, log):
    Runner.from_cfg(config(trained, resume=True, train_cfg=dict(by_epoch=True, max_epochs=2))).train()
    newest = trained / 'epoch_2.pth'
    newest.write_bytes(newest.read_bytes()[:1000])
    Runner.from_cfg(config(trained, resume=True)).train()
    assert 'epoch_2.pth is torn' in log and 'epoch_1.pth at epoch 1' in log


def test_resume_says_what_changed(config, trained, log):
    cfg = config(trained, resume=True)
    cfg['train_dataloader']['batch_size'] = 2
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert '4 samples per iteration when the checkpoint was written, 2 now' in log
    assert 'an epoch has 11 iterations now, 6 when' in log
    assert runner.iter == 33


def test_resume_needs_the_whole_state(config, tmp_path, trained):
    weights = tmp_path / 'weights.pth'
    save_checkpoint(dict(state_dict=load_checkpoint(trained / 'epoch_1.pth')['state_dict']), weights)
    with pytest.raises(ValueError, match='not the state of a run to continue: use --load-from'):
        Runner.from_cfg(config(tmp_path / 'x', resume=str(weights))).train()


def test_a_checkpoint_of_another_model_is_an_error(config, tmp_path):
    other = save_checkpoint(dict(state_dict=dict(conv=torch.ones(1))), tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='lower load_min_matched'):
        Runner.from_cfg(config(tmp_path, load_from=str(other))).train()


def test_checkpoints_of_mmengine_are_resumed(config, tmp_path, trained, log):
    """As the stock Runner writes them: classes in the message hub, no random states, no position."""
    from mmengine.logging import HistoryBuffer
    checkpoint = load_checkpoint(trained / 'epoch_1.pth')
    del checkpoint['random_state'], checkpoint['meta']['position']
    checkpoint['message_hub'] = dict(log_scalars={'train/loss': HistoryBuffer([1.0, 2.0], [1, 1])},
                                     runtime_info=dict(epoch=1), resumed_keys={'train/loss': True, 'epoch': True})
    torch.save(checkpoint, tmp_path / 'stock.pth')
    runner = Runner.from_cfg(config(tmp_path / 'next', resume=str(tmp_path / 'stock.pth')))
    runner.train()
    assert 'has no random states' in log and runner.iter == 18
    assert runner.message_hub.get_scalar('train/loss').data[0][:2].tolist() == [1.0, 2.0]


# signals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(('signum', 'stage', 'iteration', 'position'), [
    (signal.SIGTERM, 'train', 9, (1, 9)), (signal.SIGINT, 'train', 12, (1, 12)), (signal.SIGUSR1, 'val', 12, (2, 12))])
def test_signals_save_and_leave(config, tmp_path, signum, stage, iteration, position):
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=10))
    with pytest.raises(SystemExit) as caught:
        Runner.from_cfg(config(tmp_path / 'cut', default_hooks=hooks,
                               custom_hooks=[dict(type='Raise', signum=int(signum), iteration=iteration,
                                                  stage=stage)])).train()
    assert caught.value.code == 128 + signum
    assert 'SignalHook' not in getattr(signal.getsignal(signum), '__qualname__', '')
    meta = load_checkpoint(tmp_path / 'cut' / f'iter_{iteration}.pth')['meta']
    assert (meta['epoch'], meta['iter']) == position
    assert meta['position']['validation_pending'] == (stage == 'val')
    resumed = Runner.from_cfg(config(tmp_path / 'cut', default_hooks=hooks, resume=True))
    resumed.train()
    whole = Runner.from_cfg(config(tmp_path / 'whole', default_hooks=hooks))
    whole.train()
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name])


@pytest.mark.parametrize(('max_keep_ckpts', 'between', 'end'), [
    (1, {'epoch_1.pth', 'iter_9.pth'}, {'epoch_3.pth'}),
    (-1, {'epoch_1.pth', 'iter_8.pth', 'iter_9.pth'},
     {'epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth', 'iter_8.pth', 'iter_9.pth'})])
def test_what_a_signal_left_goes_when_the_next_is_there(config, tmp_path, max_keep_ckpts, between, end):
    hooks = dict(checkpoint=dict(type='CheckpointHook', max_keep_ckpts=max_keep_ckpts, interval=1))
    for iteration in (8, 9):
        with pytest.raises(SystemExit):
            Runner.from_cfg(config(tmp_path, default_hooks=hooks, resume=True, custom_hooks=[
                dict(type='Raise', signum=int(signal.SIGTERM), iteration=iteration)])).train()
    assert {path.name for path in tmp_path.glob('*.pth')} == between
    Runner.from_cfg(config(tmp_path, default_hooks=hooks, resume=True)).train()
    assert {path.name for path in tmp_path.glob('*.pth')} == end


def test_handlers_are_given_back(config, tmp_path):
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    Runner.from_cfg(config(tmp_path, **SHORT)).train()
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before
