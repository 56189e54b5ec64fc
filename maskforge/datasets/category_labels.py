"""From the categories of an annotation file, and a label map, to class indices, colours and things."""
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from maskforge.formats.category_rows import names_by_id
from maskforge.formats.label_map import LabelMap

from .class_names import label_table, make_palette, match_classes

LABEL_MODES = ('contiguous', 'category_id', 'category_id_from_1')


def check_label_mode(label_mode: str, num_classes: int | None) -> None:
    """Raise ``ValueError`` for an unknown mode, or for a number of rows that the mode has no use for."""
    if label_mode not in LABEL_MODES:
        raise ValueError(f'label_mode={label_mode!r}: allowed are {", ".join(LABEL_MODES)}.')
    if num_classes is not None and label_mode == 'contiguous':
        raise ValueError(f"num_classes={num_classes} of a data set needs label_mode='category_id'; otherwise the "
                         'number of its classes counts.')


def select_categories(metainfo: dict, names: list[str], ids: np.ndarray, *, label_mode: str, num_classes: int | None,
                      source: str) -> np.ndarray:
    """Fix ``metainfo['classes']`` and ``['category_ids']``; return (K,) int64 labels of the file's categories.

    Args:
        metainfo: of the data set; its ``classes`` select and reorder, all of the file by default.
        names, ids: of the file's K categories.
        label_mode: one of ``LABEL_MODES``, see :class:`~maskforge.datasets.CocoDataset`.
        num_classes: rows where labels follow ids; by default as many as the largest id needs.
        source: the file, for messages.

    Returns:
        The label of every category, -1 where it is not selected.

    Raises:
        ValueError: no categories, a class that the file lacks, an id beyond ``num_classes``.
    """
    classes = metainfo.setdefault('classes', tuple(names))
    if not classes:
        raise ValueError(f"{source}: 'categories' is empty; at least one category is needed.")
    rows = match_classes(classes, names, source)
    chosen = ids[rows]
    if label_mode == 'contiguous':
        metainfo['category_ids'] = tuple(chosen.tolist())
        return label_table(rows, len(names))
    first = int(label_mode == 'category_id_from_1')
    count = num_classes or max(int(ids.max()) + 1 - first, 1)
    metainfo['classes'] = names_by_id(dict(zip(chosen.tolist(), classes)), count, first=first)
    metainfo['category_ids'] = tuple(range(first, first + count))
    table = np.full(len(names), -1, np.int64)
    table[rows] = chosen - first
    return table


def use_label_map(metainfo: dict, label_map: LabelMap, names: Sequence[str], ids: Sequence[int], *, path: str | Path,
                  source: str) -> dict[str, tuple[bool, tuple[int, int, int] | None]]:
    """Let a label map choose and order the classes of an annotation file: fix ``metainfo['classes']``.

    Args:
        names, ids: of the file's categories. Classes of the label map that the file does not have are left out.
        path, source: the label map and the annotation file, for messages.

    Returns:
        By class name, whether it is a thing, and its colour (None where the label map has none).

    Raises:
        ValueError: the label map lacks a category of the file, or gives it another id.
    """
    known = dict(zip(names, ids))
    missing = sorted(set(known) - set(label_map.names))
    if missing:
        raise ValueError(f'{path} lacks the class {missing[0]!r} (id {known[missing[0]]}) of {source}; add an entry '
                         f'{{"id": {known[missing[0]]}, "name": "{missing[0]}"}}.')
    for name, identity in zip(label_map.names, label_map.ids):
        if known.get(name, identity) != identity:
            raise ValueError(f'{path} gives {name!r} the id {identity}, {source} {known[name]}; one of the files must '
                             'be corrected.')
    kept = [k for k, name in enumerate(label_map.names) if name in known]
    classes = tuple(label_map.names[k] for k in kept)
    if set(metainfo.get('classes', classes)) != set(classes):
        print_log(f'{path} chooses the classes; metainfo.classes has no effect.', 'current', logging.WARNING)
    metainfo['classes'] = classes
    return {label_map.names[k]: (label_map.is_thing[k], label_map.palette[k]) for k in kept}


def describe_classes(metainfo: dict, described: Mapping[str, tuple[bool, Sequence[int] | None]]) -> None:
    """Fill in ``metainfo['is_thing']`` and ``['palette']``, unless given.

    Args:
        described: by class name, whether it is a thing, and its colour or None. Classes that it lacks are things.
    """
    default = make_palette(len(metainfo['classes']))
    found = [described.get(name, (True, None)) for name in metainfo['classes']]
    metainfo.setdefault('is_thing', tuple(bool(thing) for thing, _ in found))
    metainfo.setdefault('palette', [tuple(colour or default[label]) for label, (_, colour) in enumerate(found)])


def check_positive_ids(ids: Mapping[str, np.ndarray], source: str) -> None:
    """Refuse ids below 1, which TAO's data and pycocotools' evaluation take for 'nothing'.

    Args:
        ids: by what they are of ('category', 'annotation').

    Raises:
        ValueError: an id is below 1.
    """
    for what, values in ids.items():
        low = values[values < 1]
        if len(low):
            more = f' (and {len(low) - 1} more)' if len(low) > 1 else ''
            raise ValueError(f'{source}: {what} id {low[0]}{more} is below 1. Number them from 1, or set '
                             'require_positive_ids=False: this library itself takes any ids.')
