"""Text files of class names (TAO's class maps): one name a line, category ids from 1 in the order of the lines."""
from pathlib import Path

from .text_file import read_text_file


def read_class_list(path: str | Path, *, num_classes: int | None = None) -> list[str]:
    """Return the names.

    Args:
        num_classes: how many there must be, where a model is already known.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no names, an empty line before the last name, a name twice, or another number than asked for.
    """
    lines = [line.strip() for line in read_text_file(path, 'class map').splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not all(lines) or not lines:
        where = f'line {lines.index("") + 1} is empty' if lines else 'it is empty'
        raise ValueError(f'class map {path}: {where}; one class name a line is needed, the line number is the '
                         'category id.')
    twice = sorted({name for name in lines if lines.count(name) > 1})
    if twice:
        raise ValueError(f'class map {path} has {twice[0]!r} twice.')
    if num_classes is not None and len(lines) != num_classes:
        raise ValueError(f'class map {path} has {len(lines)} names, but the model has {num_classes} classes.')
    return lines
