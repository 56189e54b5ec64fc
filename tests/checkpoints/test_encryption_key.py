"""Where the key comes from, and what is said about keys that cannot be."""
import os

import pytest

from maskforge.checkpoints import encryption_key as module
from maskforge.checkpoints.encryption_key import (
    MissingKeyError,
    adopt_config_key,
    current_key,
    read_key_file,
    set_encryption_key,
)
from maskforge.config import Secret


@pytest.mark.parametrize(('given', 'environment', 'config', 'expected'), [
    (None, None, None, None), (None, None, 'c', b'c'), (None, 'e', 'c', b'e'), ('g', 'e', 'c', b'g'),
    ('g', None, None, b'g'), (None, 'ü', None, 'ü'.encode()), (b'\x00\xff', None, None, b'\x00\xff'),
])
def test_which_key_counts(given, environment, config, expected, monkeypatch):
    if environment is not None:
        monkeypatch.setenv('MASKFORGE_KEY', environment)
    set_encryption_key(given)
    adopt_config_key(config and Secret(config))
    assert current_key() == expected
    adopt_config_key(None)
    assert current_key() == (expected if given or environment else None)


def test_a_key_that_is_not_used_is_named_without_its_value(monkeypatch, engine_log):
    monkeypatch.setenv('MASKFORGE_KEY', '4711')
    adopt_config_key(Secret('0815'))
    assert [line for line in engine_log if 'encryption_key of the config is not used' in line
            and 'MASKFORGE_KEY' in line and '4711' not in line and '0815' not in line]
    engine_log.clear()
    adopt_config_key(Secret('4711'))
    assert not engine_log


def test_a_masked_key_is_none(monkeypatch):
    adopt_config_key(Secret('***'))
    assert current_key() is None
    with pytest.raises(MissingKeyError, match=r"is '\*\*\*', as dumped configs show keys.*--key-file FILE"):
        adopt_config_key(Secret('***'), writes=True)
    monkeypatch.setenv('MASKFORGE_KEY', 'k')
    adopt_config_key(Secret('***'), writes=True)


@pytest.mark.parametrize(('action', 'message'), [
    (lambda: set_encryption_key(''), 'the encryption key is empty'),
    (lambda: adopt_config_key(Secret('')), 'encryption_key of the config is empty'),
    (lambda: adopt_config_key(Secret(735519)), 'must be a text, got a value of type int'),
])
def test_wrong_keys(action, message):
    with pytest.raises(ValueError, match=message) as caught:
        action()
    assert '735519' not in str(caught.value)


def test_an_empty_variable_is_an_error(monkeypatch):
    monkeypatch.setenv('MASKFORGE_KEY', '')
    with pytest.raises(ValueError, match='the environment variable MASKFORGE_KEY is empty'):
        current_key()


@pytest.mark.parametrize(('content', 'key'), [(b'k e\n', b'k e'), (b'k\r\n', b'k'), (b'k', b'k'), (b' k\n\n', b' k')])
def test_key_files(tmp_path, content, key, engine_log):
    path = tmp_path / 'key'
    path.write_bytes(content)
    path.chmod(0o600)
    assert read_key_file(path) == key
    assert not engine_log


@pytest.mark.skipif(os.name != 'posix', reason='modes of POSIX')
@pytest.mark.parametrize('mode', [0o640, 0o604, 0o660])
def test_open_key_files_are_warned_of(tmp_path, mode, engine_log):
    path = tmp_path / 'key'
    path.write_text('hidden')
    path.chmod(mode)
    read_key_file(path)
    warning, = engine_log
    assert f'(mode {mode:03o})' in warning and 'chmod 600' in warning and 'hidden' not in warning


@pytest.mark.parametrize(('content', 'error', 'message'), [
    (None, FileNotFoundError, 'does not exist'), (b'', ValueError, 'is empty'), (b'\n', ValueError, 'is empty'),
    (b'x' * (module.LONGEST_KEY + 1), ValueError, 'is it another file than the key'),
])
def test_bad_key_files(tmp_path, content, error, message):
    if content is not None:
        (tmp_path / 'key').write_bytes(content)
    with pytest.raises(error, match=message):
        read_key_file(tmp_path / 'key')
