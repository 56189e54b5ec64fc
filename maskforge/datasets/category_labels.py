"""From the categories of an annotation file to class indices."""
import numpy as np

from maskforge.formats.category_rows import names_by_id

from .class_names import label_table, match_classes

LABEL_MODES = ('contiguous', 'category_id')


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
        label_mode: 'contiguous' or 'category_id', see :class:`~maskforge.datasets.CocoDataset`.
        num_classes: rows with 'category_id'; the largest id + 1 by default.
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
    count = num_classes or max(int(ids.max()) + 1, 1)
    metainfo['classes'] = names_by_id(dict(zip(chosen.tolist(), classes)), count)
    metainfo['category_ids'] = tuple(range(count))
    table = np.full(len(names), -1, np.int64)
    table[rows] = chosen
    return table
