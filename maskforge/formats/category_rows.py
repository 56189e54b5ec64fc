"""Class lists with one row per original category id, for heads that count that way (91 rows for COCO's 80 classes)."""
import re
from collections.abc import Mapping, Sequence

_UNUSED = re.compile(r'unused_\d+')


def names_by_id(categories: Mapping[int, str], count: int, *, first: int = 0) -> tuple[str, ...]:
    """``count`` names, one for every id from ``first`` on; those that belong to no category are ``unused_<id>``.

    Raises:
        ValueError: an id is below ``first`` or does not fit into ``count`` rows.
    """
    ids = range(first, first + count)
    odd = sorted(identity for identity in categories if identity not in ids)
    if odd:
        raise ValueError(f'category id {odd[-1]} ({categories[odd[-1]]}) does not fit into num_classes={count} rows, '
                         f'one per id from {first}; {max(categories) + 1 - first} are needed, and no id may be lower.')
    return tuple(categories.get(identity, f'unused_{identity}') for identity in ids)


def is_unused_row(name: str) -> bool:
    """Whether a class name stands for an id that belongs to no category."""
    return _UNUSED.fullmatch(name) is not None


def used_rows(names: Sequence[str]) -> list[int]:
    """Rows that belong to a category."""
    return [row for row, name in enumerate(names) if not is_unused_row(name)]
