"""Encryption that costs nothing, and no key from outside."""
import pytest

from maskforge.checkpoints import encrypted_file, encrypted_header, encryption_key


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv('MASKFORGE_KEY', raising=False)
    monkeypatch.setattr(encryption_key, '_given', None)
    monkeypatch.setattr(encryption_key, '_of_config', None)


@pytest.fixture
def cheap(monkeypatch):
    """Scrypt at its least, chunks of 64 bytes."""
    monkeypatch.setattr(encrypted_header, 'SCRYPT_LOG_N', 2)
    monkeypatch.setattr(encrypted_file.EncryptingWriter.__init__, '__kwdefaults__', dict(chunk_size=64))
