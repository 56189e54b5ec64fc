"""JSON files of any size, record by record: what reads, changes and writes annotations must not hold them all."""
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from .atomic_file import write_atomically
from .json_file import require_file

_READ = 1 << 16
_SPACE = re.compile(r'[ \t\r\n]*')
# a value that ends where the text read so far ends may go on: 12|34, tru|e
_OPEN_ENDED = re.compile(r'[\w.+-]')


class Elements:
    """The elements of one list of the file, read as they are asked for; to be asked once."""

    def __init__(self, reader: '_Reader') -> None:
        self._reader, self._iterator = reader, None

    def __iter__(self) -> Iterator[Any]:
        if self._iterator is None:
            self._iterator = self._reader.elements()
        return self._iterator


def stream_json(path: str | Path) -> Iterator[tuple[str | None, Any]]:
    """Yield the top level of a JSON file: its keys and values in the file's order.

    A value that is a list comes as :class:`Elements`, to be read before the next key (what is left unread is skipped).
    A file that is a list comes as one item with the key None.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the text is no JSON object or list, or is cut off; the message says where.
    """
    with require_file(path).open(encoding='utf-8-sig') as file:
        reader = _Reader(file, str(path))
        try:
            yield from _top_level(reader)
        except UnicodeDecodeError:
            raise ValueError(f'{path} is not UTF-8 text; JSON files must be.') from None


def _top_level(reader: '_Reader') -> Iterator[tuple[str | None, Any]]:
    if reader.peek() == '[':
        elements = Elements(reader)
        yield None, elements
        _exhaust(elements)
        reader.end()
        return
    reader.expect('{', 'an object {...} or a list [...]')
    first = True
    while reader.peek() != '}':
        if not first:
            reader.expect(',', "',' or '}'")
        first = False
        key = reader.value()
        if not isinstance(key, str):
            raise reader.error(f'a key must be a text, not {key!r}')
        reader.expect(':', "':'")
        if reader.peek() == '[':
            elements = Elements(reader)
            yield key, elements
            _exhaust(elements)
        else:
            yield key, reader.value()
    reader.expect('}', "'}'")
    reader.end()


def _exhaust(elements: Elements) -> None:
    for _ in elements:
        pass


class _Reader:
    """A window of the text that moves on; keeps no more than one value and one read."""

    def __init__(self, file: TextIO, name: str) -> None:
        self.file, self.name = file, name
        self.text, self.at, self.before, self.ended = '', 0, 0, False
        self.decode = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """The next character that is no space; '' at the end."""
        while True:
            self.at = _SPACE.match(self.text, self.at).end()
            if self.at < len(self.text) or not self._more():
                return self.text[self.at:self.at + 1]

    def expect(self, character: str, what: str) -> None:
        """Pass one character."""
        if self.peek() != character:
            raise self.error(f'{what} is missing')
        self.at += 1

    def end(self) -> None:
        """Make sure that nothing follows."""
        if self.peek():
            raise self.error('something follows the end of the value')

    def value(self) -> Any:
        """Read one whole value."""
        self.peek()
        size = _READ
        while True:
            try:
                value, end = self.decode(self.text, self.at)
            except json.JSONDecodeError as error:
                if not self._more(size):
                    raise self.error(error.msg) from None
            except RecursionError:
                raise self.error('values lie within values, thousands of levels deep') from None
            except ValueError as error:  # a number with thousands of digits
                raise self.error(str(error)) from None
            else:
                if end < len(self.text) or not _OPEN_ENDED.match(self.text, end - 1) or not self._more(size):
                    self.at = end
                    return value
            size *= 2  # long values are not tried again after every read

    def elements(self) -> Iterator[Any]:
        """Read a list, element by element."""
        self.expect('[', "'['")
        first = True
        while self.peek() != ']':
            if not first:
                self.expect(',', "',' or ']'")
            first = False
            yield self.value()
        self.at += 1

    def _more(self, size: int = _READ) -> bool:
        data = '' if self.ended else self.file.read(size)
        self.ended = not data
        if data:
            self.before += self.at
            self.text, self.at = self.text[self.at:] + data, 0
        return bool(data)

    def error(self, problem: str) -> ValueError:
        """What is wrong here, with the file."""
        cut = self.ended and not self.text[self.at:].strip()
        hint = ('the file was cut off: copy or download it again' if cut or problem.startswith('Unterminated')
                else 'correct the text there or write the file again')
        return ValueError(f'{self.name} is not valid JSON: {problem} near character {self.before + self.at}; {hint}.')


def write_json_stream(path: str | Path, items: Iterable[tuple[str, Any]]) -> Path:
    """Write an object whose values are written one by one, and iterators as lists, whole or not at all.

    Args:
        path: the file.
        items: keys and values; a value that is an iterator (not a list) is drawn while it is written.
    """
    def write(stream: BinaryIO) -> None:
        put = _writer(stream)
        put('{')
        for number, (key, value) in enumerate(items):
            put(f'{", " if number else ""}{json.dumps(key, ensure_ascii=False)}: ')
            if isinstance(value, (Elements, Iterator)):
                put('[')
                for position, element in enumerate(value):
                    put(f'{", " if position else ""}{json.dumps(element, ensure_ascii=False)}')
                put(']')
            else:
                put(json.dumps(value, ensure_ascii=False))
        put('}')
    return write_atomically(path, write)


def _writer(stream: BinaryIO) -> Callable[[str], None]:
    return lambda text: stream.write(text.encode('utf-8'))
