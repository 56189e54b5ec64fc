"""Encrypted files: what is written is read, and nothing else."""
import io
import struct
import zlib

import pytest
import torch
from safetensors.torch import save_file

from maskforge.checkpoints import encrypted_header as head
from maskforge.checkpoints import (
    find_latest,
    is_whole,
    load_checkpoint,
    save_checkpoint,
    set_encryption_key,
    write_last_checkpoint,
)
from maskforge.checkpoints.encrypted_file import TAG, EncryptingWriter, is_encrypted, open_decrypted
from maskforge.checkpoints.encrypted_header import SIZE, DamagedFileError, WrongKeyError
from maskforge.checkpoints.encryption_key import MissingKeyError

pytestmark = pytest.mark.usefixtures('cheap')
CHUNK = 64
STEP = CHUNK + TAG


def text_of(length: int) -> bytes:
    return bytes(i * 7 % 251 for i in range(length))


def write(path, content: bytes, key: bytes = b'key', *, pieces: int = 50):
    with open(path, 'wb') as stream:
        writer = EncryptingWriter(stream, key)
        for start in range(0, len(content), pieces):
            writer.write(content[start:start + pieces])
        writer.finish()
    return path


def read(path, key: bytes = b'key') -> bytes:
    with open_decrypted(path, key=key) as stream:
        return stream.read()


@pytest.fixture
def path(tmp_path):
    """Four chunks, the last of 8 bytes."""
    return write(tmp_path / 'secret.bin', text_of(3 * CHUNK + 8))


@pytest.mark.parametrize('length', [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 5 * CHUNK + 3])
@pytest.mark.parametrize('pieces', [1, 50, CHUNK, 10_000])
def test_round_trip(tmp_path, length, pieces):
    path = write(tmp_path / 'a', text_of(length), pieces=pieces)
    assert path.stat().st_size == SIZE + length + TAG * max(1, -(-length // CHUNK))
    assert is_encrypted(path) and read(path) == text_of(length)


def test_any_place_can_be_read(path):
    plain = text_of(3 * CHUNK + 8)
    with open_decrypted(path, key='key') as stream:
        for start in range(0, len(plain) + 5, 9):
            stream.seek(start)
            assert stream.read(CHUNK + 20) == plain[start:start + CHUNK + 20]
        assert stream.seek(-4, io.SEEK_END) == len(plain) - 4 and stream.read() == plain[-4:]


def test_the_format_is_the_documented_one(path):
    """Read by a dozen lines that follow the documentation alone."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
    content = path.read_bytes()
    magic, version, log_n, r, p, size, salt, file_salt = struct.unpack('>8sBBBBI16s16s', content[:48])
    assert (magic, version, size) == (b'MFCRY\r\n\x1a', 1, CHUNK)
    assert zlib.crc32(content[:80]) == int.from_bytes(content[80:84], 'big')
    master = Scrypt(salt=salt, length=32, n=2**log_n, r=r, p=p).derive(b'key')
    key = HKDF(hashes.SHA256(), 64, file_salt, b'maskforge file 1').derive(master)[:32]
    body = content[84:]
    chunks = [body[start:start + size + 16] for start in range(0, len(body), size + 16)]
    plain = b''.join(AESGCM(key).decrypt(i.to_bytes(12, 'big'), chunk, content[:84] + i.to_bytes(8, 'big')
                                         + bytes([i == len(chunks) - 1])) for i, chunk in enumerate(chunks))
    assert plain == text_of(3 * CHUNK + 8)


def test_files_share_nothing(tmp_path):
    first, second = (write(tmp_path / name, bytes(300)).read_bytes() for name in 'ab')
    assert first[32:] != second[32:] and first[16:32] == second[16:32]  # one scrypt for the process
    assert b'key' not in first and bytes(16) not in first[SIZE:]


REGIONS = {
    'magic': range(8), 'version': [8], 'scrypt': range(9, 12), 'chunk size': range(12, 16), 'salt': range(16, 32),
    'salt of the file': range(32, 48), 'mac of the head': range(48, 80), 'checksum': range(80, 84),
    'first chunk': range(SIZE, SIZE + CHUNK, 13), 'first tag': range(SIZE + CHUNK, SIZE + STEP, 5),
    'middle': range(SIZE + STEP, SIZE + 3 * STEP, 17), 'last chunk': range(SIZE + 3 * STEP, SIZE + 3 * STEP + 8),
    'last tag': range(SIZE + 3 * STEP + 8, SIZE + 3 * STEP + 24),
}


@pytest.mark.parametrize('region', REGIONS)
def test_a_flipped_bit_is_noticed(path, region):
    """Before anything is used: opening fails."""
    content = path.read_bytes()
    for number, place in enumerate(REGIONS[region]):
        changed = bytearray(content)
        changed[place] ^= 1 << number % 8
        path.write_bytes(changed)
        if region == 'magic':  # no longer known as encrypted: what reads it finds no checkpoint
            with pytest.raises(ValueError, match='could not be read as a checkpoint'):
                load_checkpoint(path)
        else:
            with pytest.raises(DamagedFileError, match=r'secret\.bin is damaged'):
                open_decrypted(path, key='key')


@pytest.mark.parametrize(('change', 'message'), [
    (lambda c: c[:SIZE - 1], 'ends within the head'),
    (lambda c: c[:SIZE], 'cut off'),
    (lambda c: c[:SIZE + STEP], 'cut off after chunk 1'),
    (lambda c: c[:SIZE + 3 * STEP], 'cut off after chunk 3'),
    (lambda c: c[:SIZE + 3 * STEP + TAG - 1], 'cut off'),
    (lambda c: c[:SIZE + 3 * STEP + TAG], 'cut off'),
    (lambda c: c[:-1], 'chunk 4 of 4 was altered, cut off or is not in its place'),
    (lambda c: c[:SIZE + 2 * STEP + 40], 'chunk 3 of 3 was altered, cut off'),
    (lambda c: c + c[SIZE:SIZE + STEP], 'chunk 4 of 5 was altered'),
    (lambda c: c[:SIZE] + c[SIZE + STEP:SIZE + 2 * STEP] + c[SIZE:SIZE + STEP] + c[SIZE + 2 * STEP:], 'chunk 1 of 4'),
    (lambda c: c[:SIZE] + c[SIZE + STEP:], 'chunk 1 of 3'),
    (lambda c: c[:SIZE + STEP] + c[SIZE:], 'chunk 2 of 5'),
    (lambda c: c[:SIZE + 2 * STEP] + c[SIZE + 3 * STEP:], 'chunk 3 of 3'),
])
def test_chunks_stay_in_their_places(path, change, message):
    path.write_bytes(change(path.read_bytes()))
    set_encryption_key('key')
    assert not is_whole(path)
    with pytest.raises(DamagedFileError, match=message):
        open_decrypted(path)


def test_without_a_key_the_length_tells(path):
    content = path.read_bytes()
    assert is_whole(path)
    for length in (SIZE - 1, SIZE, SIZE + 3 * STEP + TAG):
        path.write_bytes(content[:length])
        assert not is_whole(path)


def test_something_after_the_last_chunk(tmp_path):
    path = write(tmp_path / 'a', text_of(2 * CHUNK))
    path.write_bytes(path.read_bytes() + bytes(STEP))
    with pytest.raises(DamagedFileError, match='something follows its last chunk, number 2'):
        read(path)


def test_chunks_of_another_file_do_not_fit(tmp_path):
    first, second = (write(tmp_path / name, text_of(200)).read_bytes() for name in 'ab')
    (tmp_path / 'a').write_bytes(first[:SIZE + STEP] + second[SIZE + STEP:])
    with pytest.raises(DamagedFileError, match='chunk 2 of 4 was altered'):
        read(tmp_path / 'a')


def test_a_wrong_key_is_told_from_damage(path):
    with pytest.raises(WrongKeyError, match=r'secret\.bin was encrypted with another key'):
        read(path, b'Key')
    set_encryption_key('Key')
    with pytest.raises(WrongKeyError):  # not torn: a run must not pass over it and begin anew
        is_whole(path)


def test_no_key_names_what_to_set(path):
    with pytest.raises(MissingKeyError, match=r'secret\.bin is encrypted.*--key-file FILE.*MASKFORGE_KEY.*'
                                              'encryption_key in the config'):
        open_decrypted(path)


@pytest.mark.parametrize(('place', 'value', 'message'), [
    (8, 2, 'in version 2 of the format; this maskforge reads version 1'), (9, 40, r'asks for scrypt with N=2\*\*40'),
    (9, 0, 'asks for scrypt'), (10, 200, 'asks for scrypt'), (11, 0, 'asks for scrypt'), (12, 255, 'chunks of')])
def test_heads_that_ask_for_too_much(path, place, value, message):
    """Made by an attacker, who can compute the checksum: nothing is allocated for them."""
    content = bytearray(path.read_bytes())
    content[place] = value
    content[80:84] = zlib.crc32(content[:80]).to_bytes(4, 'big')
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read(path)


def test_checkpoints(tmp_path, monkeypatch):
    state = dict(state_dict=dict(w=torch.arange(500.)), meta=dict(epoch=1))
    plain = save_checkpoint(state, tmp_path / 'plain.pth')
    monkeypatch.setenv('MASKFORGE_KEY', 'key')
    secret = save_checkpoint(state, tmp_path / 'epoch_1.pth')
    assert is_encrypted(secret) and is_whole(secret) and not is_encrypted(plain)
    for path in (plain, secret):
        assert torch.equal(load_checkpoint(path)['state_dict']['w'], state['state_dict']['w'])
    monkeypatch.delenv('MASKFORGE_KEY')
    assert is_whole(secret)
    with pytest.raises(MissingKeyError, match=r'epoch_1\.pth is encrypted'):
        load_checkpoint(secret)


@pytest.mark.parametrize('kind', ['old torch', 'pickle', 'safetensors', 'malicious'])
def test_other_files_encrypted(tmp_path, kind):
    state, plain = dict(w=torch.arange(40.)), tmp_path / 'plain'
    if kind == 'safetensors':
        save_file(state, plain)
    elif kind == 'pickle':
        import pickle
        plain.write_bytes(pickle.dumps(dict(model=dict(w=state['w'].numpy()))))
    else:
        extra = dict(extra=print) if kind == 'malicious' else {}
        torch.save({**state, **extra}, plain, _use_new_zipfile_serialization=kind == 'malicious')
    suffix = dict(pickle='.pkl', safetensors='.safetensors').get(kind, '.pth')
    path = write(tmp_path / f'secret{suffix}', plain.read_bytes())
    set_encryption_key('key')
    if kind == 'malicious':
        with pytest.raises(ValueError, match=r'secret\.pth is refused.*print'):
            load_checkpoint(path)
    else:
        found = load_checkpoint(path)
        assert torch.equal(found.get('model', found)['w'], state['w'])


def test_the_newest_whole_file_is_found(tmp_path, engine_log):
    set_encryption_key('key')
    first, second = (save_checkpoint(dict(w=torch.zeros(100)), tmp_path / f'epoch_{n}.pth') for n in (1, 2))
    write_last_checkpoint(tmp_path, second)
    assert find_latest(tmp_path) == second
    content = bytearray(second.read_bytes())
    content[len(content) // 2] ^= 1
    second.write_bytes(content)
    assert find_latest(tmp_path) == first
    assert any('epoch_2.pth is torn' in line for line in engine_log)
    set_encryption_key('other')
    with pytest.raises(WrongKeyError):
        find_latest(tmp_path)


def test_scrypt_is_strong_by_default():
    from importlib.util import module_from_spec, spec_from_file_location  # the fixture weakens the module in use
    spec = spec_from_file_location('maskforge.checkpoints.fresh_header', head.__file__)
    fresh = module_from_spec(spec)
    import sys
    sys.modules[spec.name] = fresh
    spec.loader.exec_module(fresh)
    assert fresh.SCRYPT_LOG_N >= 15 and fresh.SCRYPT_R >= 8


def test_without_cryptography(path, monkeypatch):
    import sys
    monkeypatch.setitem(sys.modules, 'cryptography', None)
    for name in [name for name in sys.modules if name.startswith('cryptography.')]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'pip install maskforge\[secure\]'):
        read(path)
