"""Whole runs with a key, or with checkpoints in the background."""
import signal
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from maskforge.checkpoints import encrypted_header, encryption_key, find_latest, is_encrypted, is_whole, load_checkpoint
from maskforge.checkpoints.encrypted_header import WrongKeyError
from maskforge.checkpoints.encryption_key import MissingKeyError
from maskforge.engine import Runner
from maskforge.registry import HOOKS

KEY = 'a key that must not show'


@HOOKS.register_module(force=True)
class Terminate(Hook):
    """Sends SIGTERM after an iteration."""

    def __init__(self, iteration):
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration:
            signal.raise_signal(signal.SIGTERM)


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    monkeypatch.delenv('MASKFORGE_KEY', raising=False)
    monkeypatch.setattr(encrypted_header, 'SCRYPT_LOG_N', 2)
    monkeypatch.setattr(encryption_key, '_of_config', None)
    monkeypatch.setattr(encryption_key, '_given', None)


def files_with(folder: Path, text: str) -> list[str]:
    return [str(path) for path in folder.rglob('*') if path.is_file() and text.encode() in path.read_bytes()]


def train(config, work_dir, **changes):
    visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    return Runner.from_cfg(Config(config(work_dir, visualizer=visualizer, **changes))).train()


def equal(first, second) -> bool:
    return all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


def test_a_run_with_a_key(config, tmp_path, capfd):
    plain = train(config, tmp_path / 'plain')
    best = dict(type='CheckpointHook', interval=1, save_best='toy/error', rule='less', published_keys=['state_dict'],
                save_safetensors=True, async_save=True)
    hooks = dict(checkpoint=best)
    train(config, tmp_path / 'run', encryption_key=KEY, default_hooks=hooks,
          train_cfg=dict(by_epoch=True, max_epochs=2, val_interval=1))
    resumed = train(config, tmp_path / 'run', encryption_key=KEY, default_hooks=hooks, resume=True)
    assert equal(plain, resumed)
    written = [path for path in (tmp_path / 'run').rglob('*') if path.suffix in ('.pth', '.safetensors')]
    assert len(written) >= 10 and all(is_encrypted(path) and is_whole(path) for path in written)
    assert files_with(tmp_path, KEY) == []
    assert KEY not in ''.join(capfd.readouterr())
    text = load_checkpoint(tmp_path / 'run' / 'epoch_3.pth')['meta']['cfg']
    assert KEY not in text and "encryption_key = '***'" in text
    dumped = list((tmp_path / 'run').rglob('*.py'))
    assert dumped and all("encryption_key = '***'" in path.read_text() for path in dumped)


@pytest.mark.parametrize(('key', 'error'), [('another', WrongKeyError), (None, MissingKeyError)])
def test_resuming_with_a_wrong_key_begins_nothing(config, tmp_path, key, error):
    short = dict(train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=5))
    train(config, tmp_path, encryption_key=KEY, **short)
    before = (tmp_path / 'epoch_1.pth').read_bytes()
    with pytest.raises(error):
        train(config, tmp_path, encryption_key=key, resume=True)
    assert (tmp_path / 'epoch_1.pth').read_bytes() == before and not (tmp_path / 'epoch_2.pth').exists()


def test_a_dumped_config_does_not_train_without_the_key(config, tmp_path):
    with pytest.raises(MissingKeyError, match='as dumped configs show keys'):
        train(config, tmp_path, encryption_key='***')
    assert not list(tmp_path.rglob('*.pth'))


def test_a_key_is_of_its_run_alone(config, tmp_path):
    short = dict(train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=5))
    train(config, tmp_path / 'secret', encryption_key=KEY, **short)
    train(config, tmp_path / 'plain', **short)
    assert is_encrypted(tmp_path / 'secret' / 'epoch_1.pth') and not is_encrypted(tmp_path / 'plain' / 'epoch_1.pth')


def test_a_signal_waits_for_the_background(config, tmp_path):
    plain = train(config, tmp_path / 'plain')
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=False, async_save=True, max_keep_ckpts=2))
    with pytest.raises(SystemExit) as stop:
        train(config, tmp_path / 'run', default_hooks=hooks, custom_hooks=[dict(type='Terminate', iteration=8)])
    assert stop.value.code == 143
    assert find_latest(tmp_path / 'run').name == 'iter_8.pth'
    assert all(is_whole(path) for path in (tmp_path / 'run').glob('*.pth'))
    assert not list((tmp_path / 'run').glob('.*.tmp'))
    assert equal(plain, train(config, tmp_path / 'run', default_hooks=hooks, resume=True))
