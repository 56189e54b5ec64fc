"""Label maps: a JSON list of classes with ids, names, colours, and whether they are things."""
from dataclasses import dataclass
from pathlib import Path

from .json_file import read_json


@dataclass(frozen=True)
class LabelMap:
    """N classes in the file's order.

    Attributes:
        ids: category ids, at least 1.
        names: class names, all different.
        is_thing: False for stuff; things where the file does not say.
        palette: RGB of each class, or None where the file has no colour.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]
    is_thing: tuple[bool, ...]
    palette: tuple[tuple[int, int, int] | None, ...]


def read_label_map(path: str | Path) -> LabelMap:
    """Read ``[{"id": 1, "name": "road", "color": [128, 64, 128], "isthing": 0}, ...]``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a list of such records; an id below 1 or used twice, a name used twice, a colour that is not
            three numbers from 0 to 255.
    """
    records = read_json(path)
    if not isinstance(records, list) or not records:
        raise ValueError(f'{path}: a label map is a JSON list of at least one {{"id", "name"}}, optionally with '
                         f'"color" and "isthing".')
    for position, record in enumerate(records):
        problem = _problem(record)
        if problem:
            raise ValueError(f'{path}: entry {position}: {problem}.')
    for key in ('id', 'name'):
        values = [record[key] for record in records]
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise ValueError(f'{path}: the {key} {twice[0]!r} occurs twice.')
    return LabelMap(tuple(r['id'] for r in records), tuple(r['name'] for r in records),
                    tuple(bool(r.get('isthing', 1)) for r in records),
                    tuple(tuple(r['color']) if r.get('color') is not None else None for r in records))


def _problem(record: object) -> str | None:
    if not isinstance(record, dict) or not {'id', 'name'} <= set(record):
        return f'{record!r} needs "id" and "name"'
    identity = record['id']
    if not isinstance(identity, int) or isinstance(identity, bool) or identity < 1:
        return f'the id is {identity!r}; ids are whole numbers from 1 (0 stands for no class)'
    if not isinstance(record['name'], str) or not record['name']:
        return f'the name is {record["name"]!r}'
    return look_problem(record)


def look_problem(record: dict) -> str | None:
    """What is wrong with a category's ``isthing`` and ``color``; None if nothing is, or they are not given."""
    colour = record.get('color')
    if record.get('isthing', 1) not in (0, 1):
        return f'"isthing" is {record["isthing"]!r}; 0 or 1 is needed'
    if colour is not None and not (isinstance(colour, list) and len(colour) == 3 and all(
            isinstance(value, int) and 0 <= value <= 255 for value in colour)):
        return f'the colour is {colour!r}; three numbers from 0 to 255 are needed'
    return None
