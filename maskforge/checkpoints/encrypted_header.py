"""The head of an encrypted file, and the keys that follow from it.

    offset  bytes  content
    0       8      magic: 4D 46 43 52 59 0D 0A 1A  (MFCRY, line end, end of text)
    8       1      version of the format: 1
    9       1      scrypt: binary logarithm of the cost N
    10      1      scrypt: block size r
    11      1      scrypt: parallelism p
    12      4      plain bytes of a chunk, big-endian
    16      16     salt of scrypt, random, of the writing process
    32      16     salt of HKDF, random, of this file
    48      32     HMAC-SHA256 of bytes 0 to 47
    80      4      CRC-32 of bytes 0 to 79

``scrypt(key, salt)`` gives 32 bytes, from which HKDF-SHA256 with the file's salt makes 64: the first 32 are the AES-256
key of the chunks, the others that of the HMAC. So each file has keys of its own, and scrypt, which is slow on purpose,
runs once per process and key. The CRC tells damage from a wrong key: it needs no key.
"""
import functools
import hmac
import os
import struct
import zlib
from dataclasses import dataclass

MAGIC = b'MFCRY\r\n\x1a'
VERSION = 1
#: of new files: 128 MiB of memory and about half a second
SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P = 17, 8, 1
#: what a strange file may ask for
_MOST = dict(log_n=20, r=16, p=4)
LARGEST_CHUNK = 1 << 26
_FIELDS = struct.Struct('>8sBBBBI16s16s')
_MAC, _SUM = 32, 4
SIZE = _FIELDS.size + _MAC + _SUM


class DamagedFileError(ValueError):
    """An encrypted file is not what was written."""


class WrongKeyError(ValueError):
    """The key is not the one that an encrypted file was written with."""


@dataclass(frozen=True)
class Header:
    """What the head of a file says.

    Attributes:
        log_n, r, p: of scrypt.
        chunk_size: plain bytes of each chunk but the last.
        salt, file_salt: 16 bytes each.
    """

    log_n: int
    r: int
    p: int
    chunk_size: int
    salt: bytes
    file_salt: bytes

    @classmethod
    def new(cls, chunk_size: int) -> 'Header':
        """Of a file to be written by this process."""
        return cls(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P, chunk_size, _process_salt(os.getpid()), os.urandom(16))

    @classmethod
    def parse(cls, content: bytes, name: str) -> 'Header':
        """Read the first ``SIZE`` bytes of the file ``name``, without a key.

        Raises:
            DamagedFileError: they are damaged, cut off, or ask for more than any writer would.
            ValueError: the version is another.
        """
        if len(content) < SIZE:
            raise DamagedFileError(f'{name} is cut off: it ends within the head of an encrypted file.')
        if zlib.crc32(content[:SIZE - _SUM]) != int.from_bytes(content[SIZE - _SUM:SIZE], 'big'):
            raise DamagedFileError(f'{name} is damaged: the head of the encrypted file does not have its checksum.')
        _, version, log_n, r, p, chunk_size, salt, file_salt = _FIELDS.unpack_from(content)
        if version != VERSION:
            raise ValueError(f'{name} is encrypted in version {version} of the format; this maskforge reads version '
                             f'{VERSION}. Install a newer one.')
        header = cls(log_n, r, p, chunk_size, salt, file_salt)
        if not (1 <= chunk_size <= LARGEST_CHUNK and log_n >= 1
                and all(1 <= getattr(header, key) <= most for key, most in _MOST.items())):
            raise DamagedFileError(f'{name} is refused: its head asks for scrypt with N=2**{log_n}, r={r}, p={p} and '
                                   f'chunks of {chunk_size} bytes, which no file of maskforge does.')
        return header

    def seal(self, mac_key: bytes) -> bytes:
        """The head as it stands in the file."""
        fields = _FIELDS.pack(MAGIC, VERSION, self.log_n, self.r, self.p, self.chunk_size, self.salt, self.file_salt)
        fields += hmac.digest(mac_key, fields, 'sha256')
        return fields + zlib.crc32(fields).to_bytes(_SUM, 'big')

    def keys(self, key: bytes) -> tuple[bytes, bytes]:
        """The AES-256 key of the chunks and the key of the HMAC."""
        kdf = require('hazmat.primitives.kdf.hkdf')
        hashes = require('hazmat.primitives.hashes')
        master = _scrypt(key, self.salt, self.log_n, self.r, self.p)
        derived = kdf.HKDF(hashes.SHA256(), length=64, salt=self.file_salt, info=b'maskforge file 1').derive(master)
        return derived[:32], derived[32:]

    def open(self, content: bytes, key: bytes, name: str) -> bytes:
        """Return the AES-256 key, after the head was found to be written with ``key``.

        Raises:
            WrongKeyError: it was not.
        """
        cipher_key, mac_key = self.keys(key)
        if not hmac.compare_digest(self.seal(mac_key), content[:SIZE]):
            raise WrongKeyError(f'{name} was encrypted with another key than the one given (or somebody changed its '
                                f'head on purpose). Nothing of it was used.')
        return cipher_key


def require(module: str):
    """Import a module of cryptography.

    Raises:
        ImportError: it is not installed; the message names the extra.
    """
    import importlib

    try:
        return importlib.import_module(f'cryptography.{module}')
    except ImportError as error:
        raise ImportError("encryption needs the package 'cryptography': pip install maskforge[secure]") from error


@functools.lru_cache(maxsize=4)
def _process_salt(pid: int) -> bytes:
    """One salt for all files of a process; a forked one takes another."""
    return os.urandom(16)


@functools.lru_cache(maxsize=8)
def _scrypt(key: bytes, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    scrypt = require('hazmat.primitives.kdf.scrypt')
    return scrypt.Scrypt(salt=salt, length=32, n=1 << log_n, r=r, p=p).derive(key)
