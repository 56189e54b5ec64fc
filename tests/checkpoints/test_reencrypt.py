"""Keys of files that exist: put on, taken off, changed; publishing with a key."""
import pytest
import torch

from maskforge.checkpoints import is_encrypted, load_checkpoint, save_checkpoint, set_encryption_key
from maskforge.checkpoints.encrypted_file import open_decrypted
from maskforge.checkpoints.encrypted_header import WrongKeyError
from maskforge.cli import encrypt, publish

pytestmark = pytest.mark.usefixtures('cheap')


@pytest.fixture
def keys(tmp_path):
    """Two key files."""
    files = tmp_path / 'one.key', tmp_path / 'two.key'
    for number, file in enumerate(files):
        file.write_text(f'key {number}\n')
        file.chmod(0o600)
    return [str(file) for file in files]


@pytest.fixture
def plain(tmp_path):
    return save_checkpoint(dict(meta=dict(epoch=1, iter=2), state_dict=dict(w=torch.arange(99.)), optimizer={}),
                           tmp_path / 'epoch_1.pth')


def test_put_on_changed_and_taken_off(plain, keys, tmp_path, capsys):
    content, path = plain.read_bytes(), str(tmp_path / 'secret.pth')
    assert encrypt.main([str(plain), path, '--key-file', keys[0]]) == 0
    assert is_encrypted(path) and open_decrypted(path, key='key 0').read() == content
    assert encrypt.main([path, path, '--key-file', keys[0], '--new-key-file', keys[1]]) == 0
    assert open_decrypted(path, key='key 1').read() == content
    assert encrypt.main([path, path, '--key-file', keys[0], '--decrypt']) == 2  # and the file stays
    assert 'was encrypted with another key' in capsys.readouterr().err
    assert encrypt.main([path, path, '--key-file', keys[1], '--decrypt']) == 0
    assert f'{path} written, not encrypted' in capsys.readouterr().out
    assert (tmp_path / 'secret.pth').read_bytes() == content


@pytest.mark.parametrize(('arguments', 'message'), [
    ([], 'there is no key to encrypt'), (['--key-file', '/nowhere/k'], 'key file /nowhere/k does not exist')])
def test_encrypting_needs_a_key(plain, tmp_path, arguments, message, capsys):
    assert encrypt.main([str(plain), str(tmp_path / 'out.pth'), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'out.pth').exists()


def test_a_key_file_is_for_one_verb(plain, keys, tmp_path):
    encrypt.main([str(plain), str(tmp_path / 'secret.pth'), '--key-file', keys[0]])
    with pytest.raises(ValueError, match='there is no key to read it with'):
        load_checkpoint(tmp_path / 'secret.pth')


@pytest.mark.parametrize('kind', ['pth', 'safetensors'])
@pytest.mark.parametrize(('flags', 'key'), [([], 'key 0'), (['--decrypt'], None), (['--new-key-file'], 'key 1')])
def test_published_files(plain, keys, tmp_path, kind, flags, key):
    encrypt.main([str(plain), str(plain), '--key-file', keys[0]])
    flags = [*flags, keys[1]] if '--new-key-file' in flags else flags
    out = tmp_path / f'given.{kind}' if kind == 'pth' else tmp_path / 'given'
    assert publish.main([str(plain), str(out), '--format', kind, '--key-file', keys[0], *flags]) == 0
    written, = tmp_path.glob(f'given-*.{kind}')
    assert is_encrypted(written) == (key is not None)
    if key:
        with pytest.raises(WrongKeyError):
            open_decrypted(written, key='another')
    set_encryption_key(key)
    found = load_checkpoint(written)
    assert found.get('state_dict', found)['w'].tolist() == list(range(99))
