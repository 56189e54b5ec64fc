"""Class lists with one row per original category id, for heads that count that way (91 rows for COCO's 80 classes)."""
import re
from collections.abc import Mapping, Sequence

_UNUSED = re.compile(r'unused_\d+')


def names_by_id(categories: Mapping[int, str], count: int) -> tuple[str, ...]:
    """``count`` names, row = category id; rows that belong to no category are called ``unused_<id>``.

    Raises:
        ValueError: an id is negative or does not fit into ``count`` rows.
    """
    odd = sorted(identity for identity in categories if not 0 <= identity < count)
    if odd:
        raise ValueError(f'category id {odd[-1]} ({categories[odd[-1]]}) does not fit into num_classes={count} rows, '
                         f'one per id from 0; {max(categories) + 1} are needed, and ids must not be negative.')
    return tuple(categories.get(identity, f'unused_{identity}') for identity in range(count))


def is_unused_row(name: str) -> bool:
    """Whether a class name stands for an id that belongs to no category."""
    return _UNUSED.fullmatch(name) is not None


def used_rows(names: Sequence[str]) -> list[int]:
    """Rows that belong to a category."""
    return [row for row, name in enumerate(names) if not is_unused_row(name)]
