"""Pascal VOC's XML files: one image and its boxes a file."""
import math
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from .json_file import require_file


@dataclass(frozen=True)
class VocObject:
    """One object: its class and xyxy box in continuous pixels (the file's 1-based inclusive corners converted)."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool = False
    truncated: bool = False


@dataclass(frozen=True)
class VocRecord:
    """One file. ``height`` and ``width`` are None where the file has no size."""

    path: str
    file_name: str
    height: int | None
    width: int | None
    objects: tuple[VocObject, ...]


def read_voc_xml(path: str | Path, *, one_based: bool = True) -> VocRecord:
    """Read one file.

    Args:
        one_based: corners count pixels from 1, both ends included, as Pascal VOC has it: the box from xmin to xmax
            spans [xmin - 1, xmax]. False takes the numbers as they are.

    Raises:
        FileNotFoundError, ValueError: missing file, broken XML, or a record that cannot be read.
    """
    try:
        root = ElementTree.fromstring(require_file(path, 'VOC annotation').read_bytes())
    except ElementTree.ParseError as error:
        raise ValueError(f'{path} is not valid XML: {error}.') from None
    height, width = (_size(root, axis, path) for axis in ('height', 'width'))
    objects = tuple(_read_object(node, number, path, one_based) for number, node in enumerate(root.iter('object')))
    return VocRecord(str(path), (root.findtext('filename') or '').strip(), height, width, objects)


def _size(root: ElementTree.Element, axis: str, path: str | Path) -> int | None:
    text = root.findtext(f'size/{axis}')
    if text is None or not text.strip():
        return None
    value = _number(text, f'{path}: size/{axis}')
    return int(value) if value > 0 else None


def _read_object(node: ElementTree.Element, number: int, path: str | Path, one_based: bool) -> VocObject:
    place = f'{path}: object[{number}]'
    name = (node.findtext('name') or '').strip()
    if not name:
        raise ValueError(f'{place} has no name.')
    place = f'{place} ({name})'
    corners = []
    for tag in ('xmin', 'ymin', 'xmax', 'ymax'):
        text = node.findtext(f'bndbox/{tag}')
        if text is None:
            raise ValueError(f'{place} has no bndbox/{tag}.')
        corners.append(_number(text, f'{place} bndbox/{tag}'))
    shift = 1.0 if one_based else 0.0
    box = (corners[0] - shift, corners[1] - shift, corners[2], corners[3])
    return VocObject(name, box, _flag(node, 'difficult'), _flag(node, 'truncated'))


def _number(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f'{place} is {text!r}; a number is needed.')
    return value


def _flag(node: ElementTree.Element, tag: str) -> bool:
    return (node.findtext(tag) or '0').strip() not in ('0', '')
