"""Which original category id a class index stands for, and where the two disagree."""
import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.logging import print_log

from maskforge.formats.category_rows import is_unused_row


@dataclass(frozen=True)
class ClassMap:
    """Class index k <-> name and original category id.

    Attributes:
        names: K class names.
        ids: K original category ids.
    """

    names: tuple[str, ...]
    ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def check_labels(self, labels: np.ndarray, *, image: object) -> None:
        """Raise ``ValueError`` where one of (N,) class indices is outside [0, K)."""
        bad = [int(label) for label in labels if not 0 <= label < len(self)]
        if bad:
            raise ValueError(
                f'image {image!r}: class index {bad[0]} is outside 0 .. {len(self) - 1}; the data set has {len(self)} '
                'classes. Make num_classes of the model agree with metainfo.classes of the data set.')

    @classmethod
    def from_meta(cls, meta: Mapping) -> 'ClassMap':
        """The mapping that the data set's metainfo gives; ids count from 1 where it has no ``category_ids``."""
        names, ids = meta.get('classes'), meta.get('category_ids')
        if names is None and ids is None:
            raise ValueError("the metric's dataset_meta has neither classes nor category_ids: set metainfo of the "
                             "data set, or give the metric an ann_file.")
        ids = tuple(ids) if ids is not None else tuple(range(1, len(names) + 1))
        return cls(tuple(names) if names is not None else tuple(str(i) for i in ids), ids)

    @classmethod
    def match(cls, meta: Mapping | None, categories: Sequence[Mapping], *, source: str) -> 'ClassMap':
        """Line up the data set's classes with the categories of an annotation file.

        ``category_ids`` of the metainfo decide; where they do not fit the file, class names do. Without either, the
        classes are the file's categories by rising id.

        Raises:
            ValueError: class names that the file does not have, or no common category at all.
        """
        meta = meta or {}
        names, ids = meta.get('classes'), meta.get('category_ids')
        if names is None and ids is None:
            rows = sorted(categories, key=lambda row: row['id'])
            return cls(tuple(row['name'] for row in rows), tuple(row['id'] for row in rows))
        id_by_name = {row['name']: row['id'] for row in categories}
        name_by_id = {row['id']: row['name'] for row in categories}
        if ids is not None and _fits(ids, names, id_by_name, name_by_id):
            _warn_absent([i for i, name in zip(ids, names or ()) if not is_unused_row(name)], name_by_id, source)
            return cls(tuple(names or (name_by_id.get(i, str(i)) for i in ids)), tuple(ids))
        missing = [name for name in names or () if name not in id_by_name]
        if missing or names is None:
            raise ValueError(_mismatch(missing or list(ids), id_by_name, source))
        return cls(tuple(names), tuple(id_by_name[name] for name in names))


def _fits(ids: Sequence[int], names: Sequence[str] | None, id_by_name: Mapping, name_by_id: Mapping) -> bool:
    """Whether original ids can be trusted: the file knows some of them, and its names do not say otherwise."""
    if not any(i in name_by_id for i in ids):
        return False
    if names is None:
        return True
    return all(id_by_name.get(name, i) == i for name, i in zip(names, ids))


def _warn_absent(ids: Sequence[int], name_by_id: Mapping, source: str) -> None:
    absent = [i for i in ids if i not in name_by_id]
    if absent:
        print_log(f'{len(absent)} of {len(ids)} classes have category ids that {source} does not list '
                  f'({", ".join(map(str, absent[:5]))}{", ..." if len(absent) > 5 else ""}): they have no ground truth '
                  'there.', logger='current', level=logging.WARNING)


def _mismatch(missing: Sequence, id_by_name: Mapping, source: str) -> str:
    near = difflib.get_close_matches(str(missing[0]), [str(name) for name in id_by_name], n=3, cutoff=0.5)
    known = ', '.join(f'{name} (id {i})' for name, i in list(id_by_name.items())[:10])
    hint = f' Did you mean {" or ".join(near)}?' if near else ''
    return (f'{source}: no category for class {missing[0]!r}{f" and {len(missing) - 1} more" if missing[1:] else ""}.'
            f'{hint} The file has: {known}{", ..." if len(id_by_name) > 10 else ""}. Set metainfo.classes of the data '
            "set to the file's names, or point the metric's ann_file to the right file.")
