"""Values of ``--cfg-options key=value``: what is typed becomes the Python value that a config file would hold.

``1`` int, ``0x10`` int, ``1e-4`` float, ``true`` bool, ``none`` or ``null`` None, ``1,2`` and ``[1,2]`` lists,
``(1,2)`` tuple, ``{"a":1}`` and ``dict(a=1)`` dicts, ``"1"`` the string 1; anything else is a string.
"""
import math
import re
from collections.abc import Sequence
from typing import Any

_INTEGER = re.compile(r'[+-]?(\d[\d_]*|0[xX][\da-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+)')
_PAIRS = {'[': ']', '(': ')', '{': '}'}
_WORDS = {'true': True, 'false': False, 'none': None, 'null': None}


def parse_options(items: Sequence[str]) -> dict[str, Any]:
    """Read ``['a.b=1', ...]`` into ``{'a.b': 1, ...}``; a key given twice keeps its last value.

    Raises:
        ValueError: an item without ``=``, an empty part in a key, or a value that cannot be read.
    """
    options: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition('=')
        if not equals:
            raise ValueError(f'option {item!r} has no "=": write key=value, for example '
                             'optim_wrapper.optimizer.lr=0.01')
        key = key.strip()
        if not all(part.strip() for part in key.split('.')):
            raise ValueError(f'option {item!r}: the key {key!r} has an empty part, write model.backbone.depth=50')
        try:
            options[key] = parse_value(text)
        except ValueError as error:
            raise ValueError(f'option {item!r}: {error}') from None
    return options


def parse_value(text: str) -> Any:
    """Return the Python value of one option's text; an empty text is the empty string.

    Raises:
        ValueError: unbalanced brackets or quotes, an empty element, a number too large for a float.
    """
    text = text.strip()
    if not text:
        return ''
    reader = _Reader(text)
    values = reader.elements('')
    return values if reader.commas else values[0]


class _Reader:
    """One pass over the text of a value, ``at`` is the position of the next character."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.commas = text, 0, 0

    def elements(self, close: str) -> list:
        """Values up to ``close`` (the end of the text when empty), which is consumed; a trailing comma is allowed."""
        values: list = []
        while not self._closes(close):
            if values or self._peek() == ',':
                self._comma(has_value=bool(values), close=close)
                if self._closes(close):
                    break
            values.append(self._value(',' + close))
        self.at += len(close)
        return values

    def pairs(self, close: str, sign: str) -> dict:
        """``key sign value`` pairs up to ``close``, which is consumed."""
        found: dict = {}
        while not self._closes(close):
            if found or self._peek() == ',':
                self._comma(has_value=bool(found), close=close)
                if self._closes(close):
                    break
            key = self._value(sign + ',' + close)
            if self._peek() != sign:
                raise ValueError(f'a dict needs key{sign}value, got {key!r} without {sign!r} in {self.text!r}')
            self.at += 1
            found[key] = self._value(',' + close)
        self.at += len(close)
        return found

    def _value(self, stops: str) -> Any:
        self._skip_space()
        start, commas = self.at, self.commas
        char = self.text[start:start + 1]
        if char == '' or char in stops:
            raise ValueError(f'an empty element at position {start} of {self.text!r}; write "" for an empty string')
        if char in '\'"':
            value = self._quoted(char)
        elif char in _PAIRS:
            self.at += 1
            value = self._bracket(char)
        elif self.text.startswith('dict(', start):
            self.at += len('dict(')
            value = self.pairs(')', '=')
        else:
            return _scalar(self._word(stops))
        self.commas = commas
        if self._peek() == '' or self._peek() in stops:
            return value
        self.at = start  # such as "(a)b" or "[0]/x": a word that merely begins like a bracket
        return _scalar(self._word(stops))

    def _bracket(self, char: str) -> Any:
        if char == '{':
            return self.pairs('}', ':')
        values = self.elements(_PAIRS[char])
        return tuple(values) if char == '(' else values

    def _quoted(self, quote: str) -> str:
        end = self.at + 1
        while end < len(self.text) and self.text[end] != quote:
            end += 2 if self.text[end] == '\\' and self.text[end + 1:end + 2] == quote else 1
        if end >= len(self.text):
            raise ValueError(f'the quote {quote} opened at position {self.at} of {self.text!r} is never closed')
        value = self.text[self.at + 1:end].replace('\\' + quote, quote)
        self.at = end + 1
        return value

    def _word(self, stops: str) -> str:
        start, waiting = self.at, []
        while self.at < len(self.text):
            char = self.text[self.at]
            if not waiting and char in stops:
                break
            if char in _PAIRS:
                waiting.append(_PAIRS[char])
            elif char in ')]}' and (not waiting or waiting.pop() != char):
                raise ValueError(f'unbalanced bracket {char!r} at position {self.at} of {self.text!r}')
            self.at += 1
        if waiting:
            raise ValueError(f'unbalanced bracket: {waiting[-1]!r} is missing in {self.text!r}; quote the value to '
                             'keep it as a string')
        return self.text[start:self.at].strip()

    def _comma(self, *, has_value: bool, close: str) -> None:
        if not has_value or self._peek() != ',':
            raise ValueError(f'an empty element or a missing comma at position {self.at} of {self.text!r}')
        self.at += 1
        self.commas += not close

    def _closes(self, close: str) -> bool:
        char = self._peek()
        if close and char == '':
            raise ValueError(f'unbalanced bracket: {close!r} is missing in {self.text!r}')
        return char == close

    def _peek(self) -> str:
        self._skip_space()
        return self.text[self.at:self.at + 1]

    def _skip_space(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1


def _scalar(word: str) -> Any:
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    if _INTEGER.fullmatch(word):
        return int(word, 0) if word.lower().lstrip('+-')[:2] in ('0x', '0o', '0b') else int(word)
    try:
        number = float(word)
    except ValueError:
        return word
    if math.isinf(number) and 'inf' not in word.lower():
        raise ValueError(f'{word} is too large for a float')
    return number


def merge_options(values: dict, options: dict[str, Any]) -> None:
    """Write dotted ``options`` into the nested ``values``, in place.

    A part that is a number indexes a list or tuple (``pipeline.0.scale``, ``-1`` is the last). A dict merges into
    the dict that is there unless it holds ``_delete_=True``.

    Raises:
        KeyError: an index beyond a list, or a word where a list needs an index.
        TypeError: the key goes below a value that is neither dict nor list.
    """
    for key, value in options.items():
        _set(values, key.split('.'), value, key)


def _set(node: Any, parts: list[str], value: Any, key: str) -> Any:
    """Return ``node`` with ``value`` at ``parts``; dicts and lists are changed in place, tuples are rebuilt."""
    if not parts:
        if isinstance(value, dict) and isinstance(node, dict):
            return merge_dicts(node, value)
        return value
    if isinstance(node, (list, tuple)):
        items, index = list(node), _index(parts[0], len(node), key)
        items[index] = _set(items[index], parts[1:], value, key)
        return type(node)(items)
    if node is None:
        node = {}
    if not isinstance(node, dict):
        raise TypeError(f"option '{key}': cannot set {'.'.join(parts)!r} inside {node!r}, which is a "
                        f'{type(node).__name__} and not a dict; give the whole value instead')
    node[parts[0]] = _set(node.get(parts[0]), parts[1:], value, key)
    return node


def _index(part: str, length: int, key: str) -> int:
    if not re.fullmatch(r'-?\d+', part):
        raise KeyError(f"option '{key}': {part!r} indexes a list of {length}; write a number from 0 to {length - 1}")
    if not -length <= int(part) < length:
        raise KeyError(f"option '{key}': index {part} is beyond the list, which has {length} items")
    return int(part)


def merge_dicts(base: dict, child: dict) -> dict:
    """``child`` over ``base`` by the rules of ``_base_``: dicts merge, ``_delete_=True`` replaces, the rest replaces.

    Raises:
        TypeError: a dict over something that is neither dict nor None, without ``_delete_``.
    """
    if child.get('_delete_', False):
        return _without_delete(child)
    merged = dict(base)
    for key, value in child.items():
        below = base.get(key)
        if not isinstance(value, dict) or below is None:
            merged[key] = _without_delete(value)
        elif isinstance(below, dict) or value.get('_delete_', False):
            merged[key] = merge_dicts(below, value)
        else:
            raise TypeError(f"'{key}' is a dict here but {below!r} ({type(below).__name__}) below it, they cannot "
                            f'merge; add _delete_=True to replace the value, or give the whole value')
    return merged


def _without_delete(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return type(value)((key, _without_delete(item)) for key, item in value.items() if key != '_delete_')
