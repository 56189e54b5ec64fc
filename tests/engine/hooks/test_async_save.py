"""Checkpoints written in the background: the same files, later; errors that are not lost; kills that cost nothing."""
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from maskforge.checkpoints import find_latest, is_whole, load_checkpoint, load_weights
from maskforge.engine.background_writer import BackgroundWriter, staged
from maskforge.engine.hooks import CheckpointHook
from maskforge.engine.hooks import checkpoint_hook as module


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir() if path.name != 'validation_state.json')


def train(runner, scores=None):
    if scores:
        runner.metrics = iter([dict(mAP=score) for score in scores])
    runner.train()
    return Path(runner.work_dir)


@pytest.mark.parametrize('options', [
    dict(interval=1), dict(interval=1, max_keep_ckpts=1, save_best='mAP'), dict(interval=4, save_best='mAP'),
    dict(interval=2, save_safetensors=True, max_keep_ckpts=1, save_best='mAP'),
    dict(interval=5, by_epoch=False, published_keys=['state_dict'])])
def test_the_same_files(make_runner, options):
    folders = [train(make_runner(CheckpointHook(**options, async_save=value), folder=str(value)),
                     (0.2, 0.5, 0.4, 0.3)) for value in (False, True)]
    assert names(folders[0]) == names(folders[1])
    for name in names(folders[0]):
        if name.endswith('.pth'):
            first, second = (load_checkpoint(folder / name) for folder in folders)
            assert is_whole(folders[1] / name) and first.get('meta') == second.get('meta')
            assert all(torch.equal(value, second['state_dict'][key]) for key, value in first['state_dict'].items())
    assert (folders[0] / 'last_checkpoint').read_text() == (folders[1] / 'last_checkpoint').read_text()


class SlowDisk:
    """Writers wait at the gate."""

    def __init__(self, monkeypatch):
        self.gate, self.started, write = threading.Event(), threading.Event(), torch.save

        def save(obj, stream):
            if threading.current_thread() is not threading.main_thread():
                self.started.set()
                assert self.gate.wait(20)
            write(obj, stream)

        monkeypatch.setattr(torch, 'save', save)


def test_training_goes_on_and_the_state_is_that_of_the_save(make_runner, monkeypatch):
    disk = SlowDisk(monkeypatch)
    hook = CheckpointHook(interval=1, async_save=True)
    runner = make_runner(hook)
    runner.call_hook('before_train')
    before = runner.model.weight.detach().clone()
    runner.call_hook('after_train_epoch')
    assert disk.started.wait(20) and hook._writer.busy
    assert names(runner.work_dir) == [name for name in names(runner.work_dir) if name.endswith('.tmp')]
    assert find_latest(runner.work_dir) is None
    with torch.no_grad():
        runner.model.weight.add_(1)
    disk.gate.set()
    runner.call_hook('before_write_checkpoint')  # what a signal's save calls first
    assert find_latest(runner.work_dir).name == 'epoch_1.pth'
    assert torch.equal(load_checkpoint(find_latest(runner.work_dir))['state_dict']['weight'], before)


def test_the_old_one_stays_until_the_new_one_is_whole(make_runner, monkeypatch):
    runner = make_runner(CheckpointHook(interval=1, async_save=True, max_keep_ckpts=1))
    runner.call_hook('before_train')
    runner.call_hook('after_train_epoch')
    runner.call_hook('before_write_checkpoint')
    disk = SlowDisk(monkeypatch)
    runner.epoch, runner.iter = 1, 3
    runner.call_hook('after_train_epoch')
    assert disk.started.wait(20)
    assert find_latest(runner.work_dir).name == 'epoch_1.pth'
    disk.gate.set()
    runner.call_hook('before_write_checkpoint')
    assert [name for name in names(runner.work_dir) if name.endswith('.pth')] == ['epoch_2.pth']


@pytest.mark.parametrize(('failing', 'there'), [(2, 'epoch_1.pth'), (4, 'epoch_3.pth')])  # the next save; the end
def test_errors_surface(make_runner, monkeypatch, failing, there):
    write = torch.save

    def full(obj, stream):
        if obj['meta']['epoch'] == failing:
            stream.write(b'half of it')
            raise OSError(errno.ENOSPC, 'No space left on device')
        write(obj, stream)

    monkeypatch.setattr(torch, 'save', full)
    runner = make_runner(CheckpointHook(interval=1, async_save=True, max_keep_ckpts=1))
    with pytest.raises(OSError, match=rf'epoch_{failing}.pth could not be written: .*No space left.*{there}'):
        runner.train()
    assert names(runner.work_dir) == [there, 'last_checkpoint']
    assert find_latest(runner.work_dir).name == there


def test_a_torn_file_in_the_background(make_runner, monkeypatch):
    monkeypatch.setattr(module, 'is_whole', lambda path: path.name != 'epoch_2.pth')
    runner = make_runner(CheckpointHook(interval=1, async_save=True, max_keep_ckpts=1))
    with pytest.raises(OSError, match='does not read back whole'):
        runner.train()
    assert 'epoch_1.pth' in names(runner.work_dir)
    assert (Path(runner.work_dir) / 'last_checkpoint').read_text() == 'epoch_1.pth'


def test_a_run_that_fails_waits(make_runner, monkeypatch, engine_log):
    disk = SlowDisk(monkeypatch)
    hook = CheckpointHook(interval=1, async_save=True)
    runner = make_runner(hook)
    runner.call_hook('before_train')
    runner.call_hook('after_train_epoch')
    threading.Timer(0.1, disk.gate.set).start()
    hook.release()
    assert find_latest(runner.work_dir).name == 'epoch_1.pth' and not engine_log


def test_weights_beside_and_removed_with_their_checkpoint(make_runner):
    folder = train(make_runner(CheckpointHook(interval=1, max_keep_ckpts=1, save_best='mAP', save_safetensors=True)),
                   (0.1, 0.3, 0.2, 0.1))
    assert [name for name in names(folder) if name.endswith('.safetensors')] == ['best_mAP_epoch_2.safetensors',
                                                                                'epoch_4.safetensors']
    model = torch.nn.Linear(2, 1)
    assert load_weights(model, folder / 'epoch_4.safetensors').complete


def test_what_a_kill_left_is_removed(make_runner, caplog):
    runner = make_runner(CheckpointHook(interval=1))
    folder = Path(runner.work_dir)
    folder.mkdir()
    for name in ('.epoch_3.pth.abcdefgh.tmp', '.best_mAP_epoch_1.pth.link', '.notes.tmp', 'epoch_1.pth.tmp'):
        (folder / name).write_bytes(b'half')
    with caplog.at_level('WARNING'):
        runner.call_hook('before_train')
    assert names(folder) == ['.notes.tmp', 'epoch_1.pth.tmp']
    assert '.epoch_3.pth.abcdefgh.tmp' in caplog.text


def test_staged_copies_share_what_was_shared():
    weight = torch.arange(6.)
    copy = staged(dict(a=weight, b=[weight[2:4], (weight.view(2, 3).T,)], n=1, e=torch.empty(0)))
    weight.zero_()
    assert copy['a'].tolist() == [0, 1, 2, 3, 4, 5] and copy['b'][0].tolist() == [2, 3]
    assert copy['b'][1][0].tolist() == [[0, 3], [1, 4], [2, 5]] and copy['n'] == 1
    assert copy['a'].untyped_storage().data_ptr() == copy['b'][0].untyped_storage().data_ptr()


def test_one_job_at_a_time():
    writer, order = BackgroundWriter(), []
    writer.start(lambda: (time.sleep(0.05), order.append(1)))
    with pytest.raises(RuntimeError, match='not waited for'):
        writer.start(lambda: None)
    assert writer.wait() is None and order == [1] and not writer.busy
    writer.start(lambda: 1 / 0)
    assert isinstance(writer.wait(), ZeroDivisionError) and writer.wait() is None


KILLED = """
import sys, threading, time, torch
from maskforge.checkpoints import save_checkpoint
from maskforge.engine.background_writer import BackgroundWriter
from maskforge.engine.hooks import checkpoint_hook
from functools import partial
from pathlib import Path
folder = Path(sys.argv[1])
hook = checkpoint_hook.CheckpointHook(async_save=True)
for number in (1, 2):
    path = folder / f'epoch_{number}.pth'
    if number == 2:
        def endless(obj, stream):
            stream.write(bytes(1 << 16))
            stream.flush()
            (folder / 'inside').touch()
            time.sleep(60)
        torch.save = endless
    hook._write_files(partial(checkpoint_hook._switch, str(folder), path, [folder / 'epoch_1.pth'] * (number == 2)),
                      dict(state_dict=dict(w=torch.zeros(9)), meta={}), path)
    if number == 1:
        assert hook._writer.wait() is None
"""


@pytest.mark.slow
def test_a_kill_during_a_background_write(tmp_path):
    process = subprocess.Popen([sys.executable, '-c', KILLED, str(tmp_path)])
    deadline = time.time() + 120
    while not (tmp_path / 'inside').exists() and time.time() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert any(name.endswith('.tmp') for name in os.listdir(tmp_path))
    assert find_latest(tmp_path).name == 'epoch_1.pth' and is_whole(tmp_path / 'epoch_1.pth')
