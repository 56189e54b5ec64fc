"""Files encrypted chunk by chunk, so that neither writing nor reading holds a second copy in memory.

Behind the head (:mod:`~maskforge.checkpoints.encrypted_header`) stand the chunks: the cipher text, as long as the plain
text, and 16 bytes of AES-GCM's tag. All but the last hold ``chunk_size`` plain bytes, the last one 1 to ``chunk_size``
(0 where the whole text is empty). Chunk number i, from 0, has the nonce i (12 bytes, big-endian) and, as associated
data, the whole head, i (8 bytes, big-endian) and one byte that is 1 for the last chunk and 0 for the others. A chunk
that is changed, moved, repeated, left out or of another file is noticed, and so is a file that ends early or goes on.
"""
import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from .encrypted_header import MAGIC, SIZE, DamagedFileError, Header, require
from .encryption_key import HOW, MissingKeyError, as_key, current_key

CHUNK_SIZE = 1 << 20
TAG = 16


class EncryptingWriter(io.RawIOBase):
    """A stream whose plain bytes arrive encrypted in another; :meth:`finish` writes the last chunk.

    Args:
        stream: open for writing.
        key: from which the file's keys are made.
        chunk_size: plain bytes of a chunk.
    """

    def __init__(self, stream: BinaryIO, key: bytes, *, chunk_size: int = CHUNK_SIZE) -> None:
        super().__init__()
        header = Header.new(chunk_size)
        cipher_key, mac_key = header.keys(key)
        self._stream, self._size, self._head = stream, chunk_size, header.seal(mac_key)
        self._cipher = require('hazmat.primitives.ciphers.aead').AESGCM(cipher_key)
        self._pending, self._count = bytearray(), 0
        stream.write(self._head)

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, data) -> int:
        """Take plain bytes; whole chunks are passed on as soon as another byte follows them."""
        view = memoryview(data).cast('B')
        taken = 0
        while taken < len(view):
            if len(self._pending) == self._size:
                self._pass_on(last=False)
            part = view[taken:taken + self._size - len(self._pending)]
            self._pending += part
            taken += len(part)
        return taken

    def finish(self) -> None:
        """Write the last chunk; without it the file is damaged."""
        self._pass_on(last=True)

    def _pass_on(self, *, last: bool) -> None:
        nonce, associated = _label(self._head, self._count, last)
        self._stream.write(self._cipher.encrypt(nonce, bytes(self._pending), associated))
        self._pending.clear()
        self._count += 1


class _DecryptingReader(io.RawIOBase):
    """The plain bytes of an encrypted file, from any place; every chunk is checked when it is read."""

    def __init__(self, stream: BinaryIO, key: bytes, name: str) -> None:
        super().__init__()
        self._stream, self._name, self._place = stream, name, 0
        self._head = stream.read(SIZE)
        header = Header.parse(self._head, name)
        self._size = header.chunk_size
        self.length, self.count = plain_length(_length_of(stream), header, name)
        self._cipher = require('hazmat.primitives.ciphers.aead').AESGCM(header.open(self._head, key, name))
        self._held: tuple[int, bytes] = (-1, b'')

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Place in the plain text."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place in the plain text."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.length}[whence]
        self._place = max(start + offset, 0)
        return self._place

    def readinto(self, buffer) -> int:
        """Fill ``buffer``, but for the end of the text."""
        view = memoryview(buffer).cast('B')
        done = 0
        while done < len(view) and self._place < self.length:
            index, offset = divmod(self._place, self._size)
            part = memoryview(self.chunk(index))[offset:offset + len(view) - done]
            view[done:done + len(part)] = part
            done += len(part)
            self._place += len(part)
        return done

    def chunk(self, index: int) -> bytes:
        """Plain bytes of one chunk.

        Raises:
            DamagedFileError: it is not what was written, or not in its place.
        """
        if self._held[0] != index:
            self._stream.seek(SIZE + index * (self._size + TAG))
            sealed, last = self._stream.read(self._size + TAG), index == self.count - 1
            plain = self._open(sealed, index, last)
            if plain is None:
                raise DamagedFileError(self._describe(sealed, index, last))
            self._held = (index, plain)
        return self._held[1]

    def _open(self, sealed: bytes, index: int, last: bool) -> bytes | None:
        nonce, associated = _label(self._head, index, last)
        try:
            return self._cipher.decrypt(nonce, sealed, associated)
        except require('exceptions').InvalidTag:
            return None

    def _describe(self, sealed: bytes, index: int, last: bool) -> str:
        if self._open(sealed, index, not last) is None:
            what = f'chunk {index + 1} of {self.count} was altered{", cut off" * last} or is not in its place'
        elif last:
            what = f'it is cut off after chunk {index + 1}'
        else:
            what = f'something follows its last chunk, number {index + 1}'
        return f'{self._name} is damaged: {what}. Nothing of it was used.'

    def close(self) -> None:
        """Close the file, too."""
        self._stream.close()
        super().close()


def is_encrypted(path: str | os.PathLike) -> bool:
    """Whether a file begins as encrypted ones do."""
    with open(path, 'rb') as stream:
        return stream.read(len(MAGIC)) == MAGIC


def encrypted(content: Callable[[BinaryIO], object], key: bytes | None) -> Callable[[BinaryIO], None]:
    """Return a function that writes to a stream what ``content`` would, encrypted; without a key, as it is."""
    def write(stream: BinaryIO) -> None:
        if key is None:
            content(stream)
            return
        writer = EncryptingWriter(stream, key)
        content(writer)
        writer.finish()
    return write


def open_decrypted(path: str | os.PathLike, *, key: str | bytes | None = None) -> BinaryIO:
    """Open a file for reading, whether it is encrypted or not; an encrypted one is verified as a whole first.

    Args:
        path: the file.
        key: None takes the key in effect, see :func:`~maskforge.checkpoints.encryption_key.current_key`.

    Raises:
        MissingKeyError: it is encrypted and there is no key.
        WrongKeyError: it was encrypted with another one.
        DamagedFileError: it was altered or cut off.
    """
    if not is_encrypted(path):
        return open(path, 'rb')
    key = current_key() if key is None else as_key(key, 'the encryption key')
    if key is None:
        raise MissingKeyError(f'{path} is encrypted, and there is no key to read it with: give it by {HOW}.')
    with contextlib.ExitStack() as stack:
        reader = _DecryptingReader(stack.enter_context(open(path, 'rb')), key, str(path))
        for index in range(reader.count):
            reader.chunk(index)
        stack.pop_all()
    return io.BufferedReader(reader)


def check_encrypted(path: str | os.PathLike) -> bool:
    """Whether an encrypted file is as it was written; without a key, whether its head and its length may be.

    Raises:
        WrongKeyError: there is a key, and it is another one.
    """
    try:
        if current_key() is None:
            with open(path, 'rb') as stream:
                plain_length(_length_of(stream), Header.parse(stream.read(SIZE), str(path)), str(path))
        else:
            open_decrypted(path).close()
    except (DamagedFileError, OSError):
        return False
    return True


def plain_length(length: int, header: Header, name: str | Path) -> tuple[int, int]:
    """Bytes of the plain text and number of chunks of a file of ``length`` bytes.

    Raises:
        DamagedFileError: no file has that length.
    """
    count, rest = divmod(length - SIZE, header.chunk_size + TAG)
    count += rest > 0
    plain = length - SIZE - count * TAG
    if count == 0 or 0 < rest < TAG or (rest == TAG and count > 1):
        raise DamagedFileError(f'{name} is damaged: it is cut off in or after chunk {max(count, 1)}. Nothing of it was '
                               f'used.')
    return plain, count


def _length_of(stream: BinaryIO) -> int:
    return os.fstat(stream.fileno()).st_size


def _label(head: bytes, index: int, last: bool) -> tuple[bytes, bytes]:
    """Nonce and associated data of a chunk."""
    return index.to_bytes(12, 'big'), head + index.to_bytes(8, 'big') + bytes([last])
