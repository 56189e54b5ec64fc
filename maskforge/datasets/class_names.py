"""Class names of a data set: checked, matched with those of a file, coloured."""
import colorsys
import difflib
from collections.abc import Sequence

import numpy as np


def check_classes(classes: object) -> tuple[str, ...]:
    """Return ``metainfo.classes`` as a tuple of names.

    Raises:
        ValueError: it is one string (a forgotten comma), empty, or has a name twice.
    """
    if isinstance(classes, str):
        raise ValueError(f"metainfo.classes is the string '{classes}', and no file of that name exists; a tuple of "
                         f"names is needed. One class is written with a comma: classes=('{classes}',).")
    names = tuple(classes) if isinstance(classes, Sequence) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f'metainfo.classes is {classes!r}; a tuple of at least one name is needed.')
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f'metainfo.classes has {", ".join(twice)} twice; every class needs one name of its own.')
    return names


def match_classes(wanted: Sequence[str], available: Sequence[str], source: str) -> list[int]:
    """Return the position in ``available`` of every wanted class, in the wanted order.

    Raises:
        ValueError: a wanted class does not exist; the message names the file and the nearest names.
    """
    position = {name: index for index, name in enumerate(available)}
    unknown = [name for name in wanted if name not in position]
    if unknown:
        raise ValueError(f'metainfo.classes asks for {", ".join(map(repr, unknown))}, which {source} does not have; '
                         f'{_near(unknown[0], available)}')
    return [position[name] for name in wanted]


def make_palette(count: int) -> list[tuple[int, int, int]]:
    """Return ``count`` RGB colours (0 to 255) that differ clearly from their neighbours; always the same ones."""
    colours = []
    for index in range(count):
        # steps of the golden section spread hues evenly for any count
        red, green, blue = colorsys.hsv_to_rgb((0.02 + index * 0.618034) % 1, 0.85 - 0.3 * (index // 7 % 2), 0.95)
        colours.append((round(red * 255), round(green * 255), round(blue * 255)))
    return colours


def label_table(category_rows: Sequence[int], count: int) -> np.ndarray:
    """Return (count,) int64: the label of each category row, -1 where the class is not selected."""
    table = np.full(count, -1, np.int64)
    table[np.asarray(category_rows, np.int64)] = np.arange(len(category_rows))
    return table


def _near(name: str, available: Sequence[str]) -> str:
    lowered = {candidate.lower(): candidate for candidate in available}
    near = [lowered[match] for match in difflib.get_close_matches(name.lower(), list(lowered), n=3, cutoff=0.5)]
    if near:
        return f'did you mean {" or ".join(map(repr, near))}?'
    shown = ', '.join(map(repr, available[:10])) + (' ...' if len(available) > 10 else '')
    return f'it has {len(available)} classes: {shown}.'
