"""A disk that is full: the checkpoint before stays, nothing half-written does."""
import os
import shutil
import subprocess

import pytest
import torch

from maskforge.checkpoints import (
    find_latest,
    load_checkpoint,
    save_checkpoint,
    save_weights,
    set_encryption_key,
    write_last_checkpoint,
)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    if not shutil.which('mount') or os.geteuid() != 0:
        pytest.skip('mounting needs root')
    done = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f'no tmpfs can be mounted: {done.stderr.strip()}')
    yield folder
    subprocess.run(['umount', folder], check=True)


@pytest.mark.usefixtures('cheap')
@pytest.mark.parametrize('key', [None, 'key'])
def test_a_full_disk(small_disk, key):
    set_encryption_key(key)
    path = save_checkpoint(dict(state_dict=dict(w=torch.arange(20_000.))), small_disk / 'epoch_1.pth')
    write_last_checkpoint(small_disk, path)
    before = sorted(os.listdir(small_disk))
    large = dict(w=torch.zeros(50_000))
    for action in (lambda: save_checkpoint(dict(state_dict=large), small_disk / 'epoch_2.pth'),
                   lambda: save_checkpoint(dict(state_dict=large), path),
                   lambda: save_weights(large, small_disk / 'epoch_2.safetensors')):
        with pytest.raises((OSError, RuntimeError)):
            action()
        assert sorted(os.listdir(small_disk)) == before
    assert find_latest(small_disk) == path
    assert load_checkpoint(path)['state_dict']['w'][-1] == 19_999
