"""KITTI's label files: one text file an image, one object a line, 15 columns, or 16 with a score.

The columns: class, truncated, occluded, alpha, box (x0 y0 x1 y1 in pixels), dimensions (height width length in metres),
location (x y z), rotation_y, and the score in results.
"""
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .atomic_file import write_atomically
from .text_file import read_text_file

#: numbers after the class name, without and with a score
_PLAIN, _SCORED = 14, 15


@dataclass(frozen=True)
class KittiObject:
    """One line; ``box`` is xyxy in pixels, ``place`` names file and line in messages."""

    name: str
    box: tuple[float, float, float, float]
    truncated: float = 0.0
    occluded: int = 0
    alpha: float = 0.0
    dimensions: tuple[float, float, float] = (0.0, 0.0, 0.0)
    location: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation_y: float = 0.0
    score: float | None = None
    place: str = ''


def class_key(name: str) -> str:
    """What makes two class names the same in label files: capitals, underscores and spaces do not count."""
    return ' '.join(name.replace('_', ' ').lower().split())


def read_kitti_labels(path: str | Path, *, classes: Sequence[str] = ()) -> list[KittiObject]:
    """Read one label file; an empty one has no objects.

    A class name may hold spaces: it is what stands before the last 14 numbers, or 15 with a score.

    Args:
        classes: names to give back as they are written here, whatever capitals, spaces or underscores the file has;
            names that are not listed stay as the file has them.

    Raises:
        FileNotFoundError: no such file, with near names.
        ValueError: a line with too few columns or a number that is none; the message names file and line.
    """
    known = {class_key(name): name for name in classes}
    lines = read_text_file(path, 'KITTI label file').splitlines()
    return [_read_line(line.split(), f'{path}, line {number}', known)
            for number, line in enumerate(lines, 1) if line.strip()]


def format_kitti_line(record: KittiObject) -> str:
    """One line without its end; spaces in the class name become underscores, so that the columns stay countable.

    Box and score have three decimals, the other numbers two.

    Raises:
        ValueError: the name is empty, or a number is not finite.
    """
    name = '_'.join(record.name.split())
    numbers = (record.truncated, record.alpha, *record.box, *record.dimensions, *record.location, record.rotation_y,
               record.score or 0.0)
    if not name or not all(math.isfinite(number) for number in numbers):
        raise ValueError(f'{record} cannot be written as a KITTI label: a class name and finite numbers are needed.')
    box = ' '.join(f'{side:.3f}' for side in record.box)
    rest = ' '.join(f'{number:.2f}' for number in (*record.dimensions, *record.location, record.rotation_y))
    line = f'{name} {record.truncated:.2f} {record.occluded:d} {record.alpha:.2f} {box} {rest}'
    return line if record.score is None else f'{line} {record.score:.3f}'


def write_kitti_labels(path: str | Path, records: Iterable[KittiObject]) -> Path:
    """Write one label file, atomically; without records it is empty. Returns ``path``."""
    return write_atomically(path, ''.join(f'{format_kitti_line(record)}\n' for record in records).encode('utf-8'))


def _read_line(fields: list[str], place: str, known: dict[str, str]) -> KittiObject:
    numbers = _trailing_numbers(fields)
    if len(numbers) < _PLAIN:
        raise ValueError(f'{place} has {len(fields)} columns, {len(numbers)} numbers at its end; KITTI labels have 15 '
                         '(a class and 14 numbers), or 16 with a score.')
    # a class name that ends in a number leaves one too many; what cannot be "truncated" belongs to the name
    scored = len(numbers) >= _SCORED and -1 <= numbers[-_SCORED] <= 1
    used = _SCORED if scored else _PLAIN
    name = ' '.join(fields[:-used])
    values = numbers[-used:]
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f'{place} ({name}) has a number that is not finite.')
    return KittiObject(known.get(class_key(name), name), tuple(values[3:7]), values[0], int(values[1]), values[2],
                       tuple(values[7:10]), tuple(values[10:13]), values[13], values[14] if scored else None, place)


def _trailing_numbers(fields: list[str]) -> list[float]:
    """The numbers at the end of a line, in order; the first column is never one of them."""
    numbers: list[float] = []
    for text in reversed(fields[1:]):
        try:
            numbers.append(float(text))
        except ValueError:
            break
    return numbers[::-1]
