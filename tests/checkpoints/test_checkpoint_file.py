"""Reading and writing checkpoint files."""
import os
import subprocess

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from torch import nn

from maskforge.checkpoints import (
    find_latest,
    is_whole,
    load_checkpoint,
    publish,
    save_checkpoint,
    save_weights,
    write_atomically,
    write_last_checkpoint,
)


class Malicious:
    def __init__(self, target, *arguments):
        self.call = target, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))


@pytest.fixture
def checkpoint(model, tmp_path):
    return save_checkpoint(dict(meta=dict(epoch=1, iter=5), state_dict=model.state_dict()), tmp_path / 'epoch_1.pth')


def test_round_trip(checkpoint, model):
    loaded = load_checkpoint(checkpoint)
    assert loaded['meta'] == dict(epoch=1, iter=5)
    assert torch.equal(loaded['state_dict']['0.weight'], model[0].weight)
    assert is_whole(checkpoint)


def test_a_failed_write_leaves_the_old_file_and_no_litter(checkpoint, tmp_path):
    before = checkpoint.read_bytes()

    def full_disk(stream):
        stream.write(b'half')
        raise OSError(28, 'No space left on device')

    with pytest.raises(OSError, match='No space'):
        write_atomically(checkpoint, full_disk)
    assert checkpoint.read_bytes() == before
    assert os.listdir(tmp_path) == ['epoch_1.pth']


def test_the_rename_comes_after_the_data_is_on_the_disk(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, 'fsync', lambda fd: (order.append('fsync'), fsync(fd)))
    monkeypatch.setattr(os, 'replace', lambda *args: (order.append('replace'), replace(*args)))
    write_atomically(tmp_path / 'x', lambda stream: stream.write(b'1'))
    assert order == ['fsync', 'replace', 'fsync']


@pytest.mark.parametrize('damage', ['cut', 'flipped', 'zeros', 'empty'])
def test_torn_files_are_recognised(checkpoint, model, damage):
    content = bytearray(checkpoint.read_bytes())
    if damage == 'cut':
        content = content[:len(content) // 2]
    elif damage == 'flipped':
        content[content.find(model[0].weight.detach().numpy().tobytes()[:16])] ^= 255
    elif damage == 'zeros':
        content = bytes(len(content))
    else:
        content = b''
    checkpoint.write_bytes(content)
    assert not is_whole(checkpoint)
    with pytest.raises(ValueError, match=r'epoch_1\.pth is torn'):
        load_checkpoint(checkpoint)


def test_missing_file_names_its_neighbours(checkpoint, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'epoch_2\.pth does not exist; in its folder are epoch_1\.pth'):
        load_checkpoint(tmp_path / 'epoch_2.pth')
    with pytest.raises(FileNotFoundError, match='is not there either'):
        load_checkpoint(tmp_path / 'nowhere' / 'x.pth')


@pytest.mark.parametrize('as_zip', [True, False])  # PyTorch before 1.6 wrote pickles in a row
def test_checkpoints_of_mmengine_load(model, tmp_path, as_zip):
    """With everything that MMEngine 0.10 and MMDetection 2 and 3 pickle beside the weights."""
    hub = dict(log_scalars=dict(loss=HistoryBuffer([1.0, 2.0], [1, 1])), runtime_info=dict(lr=np.float64(0.5)),
               resumed_keys=dict(loss=True))
    meta = dict(epoch=12, iter=7, CLASSES=('a', 'b'), PALETTE=np.arange(6).reshape(2, 3),
                dataset_meta=dict(classes=('a', 'b'), palette=np.array([[1, 2, 3]])))
    path = tmp_path / 'old.pth'
    torch.save(dict(meta=meta, state_dict=model.state_dict(), message_hub=hub), path,
               _use_new_zipfile_serialization=as_zip)
    loaded = load_checkpoint(path)
    assert torch.equal(loaded['state_dict']['1.bias'], model[1].bias)
    assert loaded['message_hub']['log_scalars']['loss']._log_history.tolist() == [1.0, 2.0]
    assert loaded['meta']['PALETTE'].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert loaded['message_hub']['runtime_info']['lr'] == 0.5


@pytest.mark.parametrize(('target', 'arguments', 'name'), [
    (os.system, ('touch {marker}',), 'system'),
    (subprocess.check_output, (['touch', '{marker}'],), r'\w+\.check_output'),
    (eval, ("open('{marker}', 'w')",), r'builtins\.eval'),
    (__import__, ('os',), r'builtins\.__import__'),
])
@pytest.mark.parametrize('as_zip', [True, False])
def test_code_in_a_file_is_refused(model, tmp_path, as_zip, target, arguments, name):
    marker = tmp_path / 'ran'
    filled = [[part.format(marker=marker) for part in a] if isinstance(a, list) else a.format(marker=marker)
              for a in arguments]
    path = tmp_path / 'bad.pth'
    torch.save(dict(state_dict=model.state_dict(), extra=Malicious(target, *filled)), path,
               _use_new_zipfile_serialization=as_zip)
    with pytest.raises(ValueError, match=rf'bad\.pth is refused.*{name}.*MASKFORGE_TRUST_CHECKPOINTS'):
        load_checkpoint(path)
    assert not marker.exists()


def test_getattr_in_a_file_reaches_nothing(model, tmp_path):
    """MMEngine's files contain ``getattr``; it must not open a way to other functions."""
    path = tmp_path / 'sly.pth'
    torch.save(dict(state_dict=model.state_dict(), extra=Malicious(getattr, HistoryBuffer, 'mean')), path)
    assert load_checkpoint(path)['extra'] is None


def test_trusted_files_are_unpickled(model, tmp_path, monkeypatch):
    path = tmp_path / 'own.pth'
    torch.save(dict(state_dict=model.state_dict(), extra=Malicious(eval, '1 + 1')), path)
    assert load_checkpoint(path, trust=True)['extra'] == 2
    monkeypatch.setenv('MASKFORGE_TRUST_CHECKPOINTS', '1')
    assert load_checkpoint(path)['extra'] == 2


def test_mmengine_reads_through_us(checkpoint, tmp_path, model):
    torch.save(dict(state_dict=model.state_dict(), hub=HistoryBuffer([1.0], [1])), tmp_path / 'old.pth')
    assert set(CheckpointLoader.load_checkpoint(str(tmp_path / 'old.pth'))['state_dict']) == set(model.state_dict())


def test_safetensors(model, tmp_path):
    from safetensors.torch import save_file
    save_file(dict(model.state_dict()), tmp_path / 'w.safetensors')
    assert set(load_checkpoint(tmp_path / 'w.safetensors')) == set(model.state_dict())
    (tmp_path / 'w.safetensors').write_bytes(b'nonsense')
    with pytest.raises(ValueError, match='torn or no safetensors'):
        load_checkpoint(tmp_path / 'w.safetensors')


def test_safetensors_that_are_cut_off(model, tmp_path):
    path = save_weights(model.state_dict(), tmp_path / 'w.safetensors')
    assert is_whole(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert not is_whole(path)


def test_files_without_sums_are_read(tmp_path):
    """torch.serialization.set_crc32_options(False) writes zeros in their place."""
    if not hasattr(torch.serialization, 'set_crc32_options'):
        pytest.skip('this torch always writes sums')
    torch.serialization.set_crc32_options(False)
    try:
        path = save_checkpoint(dict(w=torch.ones(3)), tmp_path / 'w.pth')
    finally:
        torch.serialization.set_crc32_options(True)
    assert is_whole(path) and load_checkpoint(path)['w'].tolist() == [1, 1, 1]


def test_find_latest_passes_over_a_torn_file(checkpoint, tmp_path, engine_log):
    second = save_checkpoint(load_checkpoint(checkpoint), tmp_path / 'epoch_2.pth')
    write_last_checkpoint(tmp_path, second)
    assert (tmp_path / 'last_checkpoint').read_text() == 'epoch_2.pth'
    assert find_latest(tmp_path) == second
    second.write_bytes(second.read_bytes()[:500])
    assert find_latest(tmp_path) == checkpoint
    assert any('epoch_2.pth is torn' in message for message in engine_log)


def test_find_latest_after_the_folder_was_moved(checkpoint, tmp_path):
    (tmp_path / 'last_checkpoint').write_text('/gone/elsewhere/epoch_1.pth')
    assert find_latest(tmp_path) == checkpoint
    assert find_latest(tmp_path / 'nothing') is None


def test_publish(checkpoint, tmp_path, model):
    path = publish(checkpoint, tmp_path / 'model.pth')
    import hashlib
    assert path.name == f'model-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth'
    published = load_checkpoint(path)
    assert set(published) == {'meta', 'state_dict'} and published['meta'] == dict(epoch=1, iter=5)
    weights = publish(checkpoint, tmp_path / 'model.safetensors')
    assert torch.equal(load_checkpoint(weights)['0.weight'], model[0].weight)
