"""Class names from a text file in place of those that a model knows."""
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.model import BaseModel

from maskforge.formats.category_rows import is_unused_row
from maskforge.formats.class_list import read_class_list


def named_by(classmap: str | Path | None, model: BaseModel) -> dict[str, Any]:
    """The model's ``dataset_meta``, with the names of the file where there is one.

    Line n names category id n, as TAO's class maps do. A model with one row per category id (row 0 unused) gets the
    names from row 1 on, any other model from row 0 on.

    Raises:
        ValueError: the file has another number of names than the model has classes.
    """
    meta = dict(getattr(model, 'dataset_meta', None) or {})
    if classmap is None:
        return meta
    by_id = _starts_unused(meta)
    count = len(meta.get('classes') or ()) or None
    names = read_class_list(classmap, num_classes=count and count - by_id)
    classes = (*meta['classes'][:1], *names) if by_id else tuple(names)
    ids = meta.get('category_ids') or range(1, len(classes) + 1)
    return {**meta, 'classes': classes, 'category_ids': tuple(ids)}


def _starts_unused(meta: Mapping[str, Any]) -> bool:
    classes = meta.get('classes') or ()
    return bool(classes) and is_unused_row(classes[0])
