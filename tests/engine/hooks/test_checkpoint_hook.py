"""Which files are there after a run, after a crash and after a resume."""
import errno
from pathlib import Path

import pytest
import torch

from maskforge.checkpoints import find_latest, load_checkpoint
from maskforge.engine.hooks import CheckpointHook, EarlyStoppingHook, ParamSchedulerHook
from maskforge.engine.hooks import checkpoint_hook as module
from maskforge.engine.schedulers.learning_rate import ReduceOnPlateauLR


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir() if path.name != 'validation_state.json')


def scores(*values, key='mAP'):
    return iter([{key: value} for value in values])


@pytest.mark.parametrize(('options', 'expected'), [
    (dict(interval=1), ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth', 'epoch_4.pth']),
    (dict(interval=3), ['epoch_3.pth', 'epoch_4.pth']),
    (dict(interval=3, save_last=False), ['epoch_3.pth']),
    (dict(), ['epoch_4.pth']),
    (dict(interval=1, max_keep_ckpts=2), ['epoch_3.pth', 'epoch_4.pth']),
    (dict(interval=1, save_begin=3), ['epoch_3.pth', 'epoch_4.pth']),
    (dict(interval=5, by_epoch=False), ['iter_10.pth', 'iter_12.pth', 'iter_5.pth']),
    (dict(interval=5, by_epoch=False, max_keep_ckpts=1), ['iter_12.pth']),
    (dict(interval=1, max_keep_ckpts=1, keep_interval=2), ['epoch_2.pth', 'epoch_4.pth']),
    (dict(interval=1, max_keep_ckpts=1, save_list=[1, 2]), ['epoch_1.pth', 'epoch_2.pth', 'epoch_4.pth']),
    (dict(save_list=[3]), ['epoch_3.pth', 'epoch_4.pth']),
    (dict(by_epoch=False, save_list=[7], keep_interval=4, interval=2, max_keep_ckpts=1),
     ['iter_12.pth', 'iter_4.pth', 'iter_7.pth', 'iter_8.pth']),
    (dict(interval=2, filename_tmpl='model_{}.pth'), ['model_2.pth', 'model_4.pth']),
])
def test_which_files_are_there(make_runner, options, expected):
    runner = make_runner(CheckpointHook(**options))
    runner.train()
    assert names(runner.work_dir) == sorted([*expected, 'last_checkpoint'])
    newest = max(expected, key=lambda name: int(''.join(filter(str.isdigit, name))))
    assert (Path(runner.work_dir) / 'last_checkpoint').read_text() == newest
    assert find_latest(runner.work_dir).name == newest


def test_meta_counts(make_runner):
    runner = make_runner(CheckpointHook(interval=1))
    runner.train()
    meta = load_checkpoint(Path(runner.work_dir) / 'epoch_2.pth')['meta']
    assert (meta['epoch'], meta['iter']) == (2, 6)


def test_what_is_saved(make_runner):
    runner = make_runner(CheckpointHook(interval=1, save_optimizer=False))
    runner.train()
    assert 'optimizer' not in load_checkpoint(Path(runner.work_dir) / 'epoch_1.pth')


def test_another_folder_keeps_the_pointer_relative(make_runner, tmp_path):
    runner = make_runner(CheckpointHook(interval=2, out_dir=tmp_path / 'elsewhere'))
    runner.train()
    assert names(tmp_path / 'elsewhere' / 'run') == ['epoch_2.pth', 'epoch_4.pth']
    assert (tmp_path / 'run' / 'last_checkpoint').read_text() == '../elsewhere/run/epoch_4.pth'
    (tmp_path / 'run').rename(tmp_path / 'elsewhere' / 'moved')
    assert find_latest(tmp_path / 'elsewhere' / 'moved') is None  # only the whole tree can be moved


def test_the_best_is_a_link_and_costs_no_write(make_runner):
    runner = make_runner(CheckpointHook(interval=1, save_best='mAP'))
    runner.metrics = scores(0.2, 0.5, 0.4, 0.5)
    runner.train()
    assert runner.writes == [f'epoch_{n}.pth' for n in range(1, 5)]
    folder = Path(runner.work_dir)
    assert [name for name in names(folder) if name.startswith('best')] == ['best_mAP_epoch_2.pth']
    assert (folder / 'best_mAP_epoch_2.pth').samefile(folder / 'epoch_2.pth')


def test_the_best_survives_pruning(make_runner):
    runner = make_runner(CheckpointHook(interval=1, max_keep_ckpts=1, save_best='coco/segm_mAP'))
    runner.metrics = scores(0.2, 0.5, 0.4, 0.3, key='coco/segm_mAP')
    runner.train()
    assert names(runner.work_dir) == ['best_coco_segm_mAP_epoch_2.pth', 'epoch_4.pth', 'last_checkpoint']
    assert load_checkpoint(Path(runner.work_dir) / 'best_coco_segm_mAP_epoch_2.pth')['meta']['epoch'] == 2


def test_a_copy_where_links_are_impossible(make_runner, monkeypatch):
    def refuse(*args):
        raise OSError(errno.EPERM, 'no links here')

    monkeypatch.setattr(module.os, 'link', refuse)
    runner = make_runner(CheckpointHook(interval=1, save_best='mAP'))
    runner.metrics = scores(0.2)
    runner.train()
    assert load_checkpoint(Path(runner.work_dir) / 'best_mAP_epoch_1.pth')['meta']['epoch'] == 1


def test_off_interval_the_best_is_written_once_without_optimizer(make_runner):
    runner = make_runner(CheckpointHook(interval=4, save_best=['mAP', 'val_loss']))
    runner.metrics = iter([dict(mAP=0.1, val_loss=3.0), dict(mAP=0.2, val_loss=2.0)])
    runner.train()
    assert runner.writes == ['best_mAP_epoch_1.pth', 'best_mAP_epoch_2.pth', 'epoch_4.pth']
    assert {'best_mAP_epoch_2.pth', 'best_val_loss_epoch_2.pth'} <= set(names(runner.work_dir))
    assert 'optimizer' not in load_checkpoint(Path(runner.work_dir) / 'best_mAP_epoch_2.pth')


@pytest.mark.parametrize(('key', 'values', 'best'), [('val_loss', (3.0, 2.0, 2.5), 2), ('mAP', (0.1, 0.3, 0.2), 2),
                                                     ('coco/bbox_mAP', (float('nan'), 0.1, 0.05), 2)])
def test_direction_is_told_by_the_name(make_runner, key, values, best):
    runner = make_runner(CheckpointHook(interval=1, save_best='auto'))
    runner.metrics = scores(*values, key=key)
    runner.train()
    assert f'best_{key.replace("/", "_")}_epoch_{best}.pth' in names(runner.work_dir)


def test_best_of_a_resumed_run(make_runner):
    first = make_runner(CheckpointHook(interval=1, save_best='mAP'), epochs=2)
    first.metrics = scores(0.2, 0.5)
    first.train()
    second = make_runner(CheckpointHook(interval=1, save_best='mAP'), epochs=4)
    second.message_hub.update_info_dict(load_checkpoint(Path(first.work_dir) / 'epoch_2.pth')['message_hub'])
    second.epoch, second.iter, second._resume = 2, 6, True
    second.metrics = scores(0.3, 0.4)
    second.train()
    assert 'best_mAP_epoch_2.pth' in names(second.work_dir)
    assert not any(name.startswith(('best_mAP_epoch_3', 'best_mAP_epoch_4')) for name in names(second.work_dir))


def test_a_kill_between_two_bests_costs_neither_the_run_nor_a_file(make_runner):
    """The old best is removed, the new one there, and nothing has noted it yet."""
    options = dict(interval=1, save_best='mAP', published_keys=['state_dict'])
    first = make_runner(CheckpointHook(**options), epochs=2)
    first.metrics = scores(0.2, 0.5)
    first.train()
    folder = Path(first.work_dir)
    (folder / 'validation_state.json').unlink()
    second = make_runner(CheckpointHook(**options), epochs=3)
    second.message_hub.update_info_dict(load_checkpoint(folder / 'epoch_2.pth')['message_hub'])
    second.epoch, second.iter, second._resume = 2, 6, True
    second.metrics = scores(0.1)
    second.train()
    assert {'best_mAP_epoch_2.pth', 'epoch_3.pth'} <= set(names(folder))


def test_resume_knows_what_the_validation_after_the_checkpoint_changed(make_runner):
    def build(**options):
        runner = make_runner(CheckpointHook(interval=1), EarlyStoppingHook('val_loss', patience=3, min_delta=0.0),
                             ParamSchedulerHook(), **options)
        runner.param_schedulers = [ReduceOnPlateauLR(runner.optim_wrapper, monitor='val_loss', patience=0)]
        return runner

    first = build(epochs=3)
    first.metrics = scores(1.0, 2.0, 2.0, key='val_loss')
    first.train()
    second = build(epochs=3)
    second.epoch, second.iter, second._load_from = 3, 9, str(Path(first.work_dir) / 'epoch_3.pth')
    second.call_hook('before_train')
    assert second.hooks[1].wait_count == 2 and second.hooks[1].best_score == 1.0
    assert second.optim_wrapper.param_groups[0]['lr'] == pytest.approx(0.1 * 0.01)
    fresh = build()
    fresh.call_hook('before_train')
    assert not (Path(fresh.work_dir) / 'validation_state.json').exists()


def test_a_full_disk_keeps_the_old_checkpoint(make_runner, monkeypatch):
    runner = make_runner(CheckpointHook(interval=1, max_keep_ckpts=1))
    write = torch.save

    def full(obj, stream):
        if obj['meta']['epoch'] == 3:
            stream.write(b'half of it')
            raise OSError(errno.ENOSPC, 'No space left on device')
        write(obj, stream)

    monkeypatch.setattr(torch, 'save', full)
    with pytest.raises(OSError, match=r'epoch_3.pth could not be written: .*No space left.*MiB free.*epoch_2.pth'):
        runner.train()
    assert names(runner.work_dir) == ['epoch_2.pth', 'last_checkpoint']
    assert find_latest(runner.work_dir).name == 'epoch_2.pth'


def test_a_file_that_reads_back_torn_removes_nothing(make_runner, monkeypatch):
    runner = make_runner(CheckpointHook(interval=1, max_keep_ckpts=1))
    monkeypatch.setattr(module, 'is_whole', lambda path: path.name != 'epoch_2.pth')
    with pytest.raises(OSError, match='does not read back whole'):
        runner.train()
    assert 'epoch_1.pth' in names(runner.work_dir)
    assert (Path(runner.work_dir) / 'last_checkpoint').read_text() == 'epoch_1.pth'


def test_nothing_is_removed_before_the_new_file_is_there(make_runner, monkeypatch):
    runner = make_runner(CheckpointHook(interval=1, max_keep_ckpts=1))
    seen = []
    remove = module._remove
    monkeypatch.setattr(module, '_remove', lambda path: (seen.append(names(runner.work_dir)), remove(path)))
    runner.train()
    assert seen[0] == ['epoch_1.pth', 'epoch_2.pth', 'last_checkpoint']


def test_an_early_end_is_saved(make_runner):
    runner = make_runner(CheckpointHook(interval=3), EarlyStoppingHook('mAP', patience=1, min_delta=0.0))
    runner.metrics = scores(0.5, 0.4)
    runner.train()
    assert names(runner.work_dir) == ['epoch_2.pth', 'last_checkpoint']


def test_published_keys(make_runner):
    runner = make_runner(CheckpointHook(interval=4, published_keys=['meta', 'state_dict']))
    runner.train()
    published, = (name for name in names(runner.work_dir) if name.startswith('epoch_4-'))
    assert set(load_checkpoint(Path(runner.work_dir) / published)) == {'meta', 'state_dict'}


def test_validation_alone_writes_nothing(make_runner):
    runner = make_runner(CheckpointHook(interval=1, save_best='mAP'))
    runner.call_hook('after_val_epoch', metrics=dict(mAP=0.3))
    runner.call_hook('after_val')
    assert not Path(runner.work_dir).exists()


@pytest.mark.parametrize(('options', 'error', 'word'), [
    (dict(save_best=['a_loss', 'a_loss']), ValueError, 'different metrics'),
    (dict(save_best='speed'), ValueError, "cannot be told from its name: set rule='greater'"),
    (dict(save_best='mAP', rule='max'), ValueError, "'greater' or 'less', got 'max'"),
    (dict(save_best='mAP', rule=['less', 'less']), ValueError, '2 rules for 1 metrics'),
    (dict(filename_tmpl='last.pth'), ValueError, 'every checkpoint would overwrite'),
    (dict(save_begin=-1), ValueError, 'must not be negative'),
])
def test_wrong_arguments(options, error, word):
    with pytest.raises(error, match=word):
        CheckpointHook(**options)


def test_missing_metric_lists_the_others(make_runner):
    runner = make_runner(CheckpointHook(interval=1, save_best='segm_mAP'))
    runner.metrics = iter([{'coco/bbox_mAP': 0.1, 'val_loss': 2.0}])
    with pytest.raises(KeyError, match=r'segm_mAP.*coco/bbox_mAP, val_loss'):
        runner.train()
