"""Lists of image and mask pairs, one JSON object a line: ``{"img": "a.jpg", "segm": "a.png"}``."""
import json
from pathlib import Path
from typing import NamedTuple

from .atomic_file import write_atomically
from .json_file import parse_json
from .text_file import read_text_file


class MaskPair(NamedTuple):
    """One line: paths as written, and where that is, for messages."""

    image: str
    mask: str
    place: str


def read_segmentation_jsonl(path: str | Path) -> list[MaskPair]:
    """Read the file; empty lines are skipped.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that is no such object, or no line at all; the message names the line.
    """
    pairs = []
    for number, line in enumerate(read_text_file(path, 'JSONL file').split('\n'), 1):
        if line.strip():
            pairs.append(_parse(line, f'{path}, line {number}'))
    if not pairs:
        raise ValueError(f'{path} lists no image; one {{"img": ..., "segm": ...}} a line is needed.')
    return pairs


def write_segmentation_jsonl(path: str | Path, pairs: list[tuple[str, str]]) -> None:
    """Write (image, mask) paths."""
    lines = ''.join(json.dumps(dict(img=image, segm=mask), ensure_ascii=False) + '\n' for image, mask in pairs)
    write_atomically(path, lines.encode('utf-8'))


def _parse(line: str, place: str) -> MaskPair:
    record = parse_json(line, place)
    for key, what in (('img', 'an image'), ('segm', 'a mask')):
        value = record.get(key) if isinstance(record, dict) else None
        if not isinstance(value, str) or not value:
            raise ValueError(f'{place} has no path of {what} under "{key}": {line.strip()[:80]}')
    return MaskPair(record['img'], record['segm'], place)
