"""Several sources as one data set."""
import copy
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log

from maskforge.registry import DATASETS

from .index_map import IndexMap

#: settings of a data set that may be lists, one entry a source
SOURCE_KEYS = ('ann_file', 'data_root', 'data_prefix')


@DATASETS.register_module()
class ConcatDataset(IndexMap):
    """Data sets one after another; their classes must agree.

    Args:
        datasets: configs or data sets.
        dataset: instead of ``datasets``, one config whose ``ann_file``, ``data_root`` or ``data_prefix`` are lists.
        lazy_init: read annotations only when they are first asked for.
        ignore_keys: keys of the meta information that may differ (palettes always may).

    Raises:
        ValueError: the classes, or other meta information, of two sources differ; the message names them.
    """

    def __init__(self, datasets: Sequence[dict | Any] | None = None, lazy_init: bool = False,
                 ignore_keys: str | Sequence[str] | None = None, *, dataset: dict | None = None) -> None:
        if (datasets is None) == (dataset is None):
            raise ValueError('ConcatDataset needs either datasets=[...] or dataset=dict(..., ann_file=[...]).')
        sources = expand_sources(dataset) if datasets is None else list(datasets)
        if not sources:
            raise ValueError('ConcatDataset got an empty list of data sets.')
        ignored = [ignore_keys] if isinstance(ignore_keys, str) else list(ignore_keys or ())
        self.ignore_keys = {'palette', *ignored}
        super().__init__(sources, lazy_init=lazy_init)

    def _build_map(self) -> tuple[np.ndarray, np.ndarray]:
        self._compare_metainfo()
        lengths = [len(dataset) for dataset in self.datasets]
        return np.repeat(np.arange(len(lengths)), lengths), np.concatenate([np.arange(length) for length in lengths])

    def _compare_metainfo(self) -> None:
        first = self.datasets[0]
        for number, other in enumerate(self.datasets[1:], 1):
            mine, theirs = dict(getattr(first, 'metainfo', {})), dict(getattr(other, 'metainfo', {}))
            for key in sorted((mine.keys() | theirs.keys()) - self.ignore_keys):
                if _equal(mine.get(key), theirs.get(key)):
                    continue
                names = f'datasets[0] ({_source(first)}) and datasets[{number}] ({_source(other)})'
                text = f'{names} differ in metainfo {key!r}: {mine.get(key)!r} and {theirs.get(key)!r}'
                if key != 'category_ids':
                    remedy = (' Set the same metainfo=dict(classes=...) on both.' if key == 'classes'
                              else f' ignore_keys=[{key!r}] allows it.')
                    raise ValueError(f'{text}.{remedy}')
                print_log(f'{text}; results are written with the ids of the first.', 'current', logging.WARNING)


def expand_sources(dataset: dict) -> list[dict]:
    """Turn one config with lists under ``ann_file``, ``data_root`` or ``data_prefix`` into one config a source.

    Raises:
        ValueError: there is no list, or the lists differ in length.
    """
    lists = {key: dataset[key] for key in SOURCE_KEYS if isinstance(dataset.get(key), (list, tuple))}
    lengths = {key: len(values) for key, values in lists.items()}
    if not lists or len(set(lengths.values())) != 1:
        raise ValueError(f'ConcatDataset(dataset=...) needs lists of one length under {", ".join(SOURCE_KEYS)}; '
                         f'got {lengths or "no list"}.')
    count = next(iter(lengths.values()))
    return [{**copy.deepcopy(dict(dataset)), **{key: values[i] for key, values in lists.items()}}
            for i in range(count)]


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return list(one) == list(other)
    return bool(np.array_equal(one, other)) if isinstance(one, np.ndarray) else one == other


def _source(dataset: Any) -> str:
    return str(getattr(dataset, 'ann_file', '') or type(dataset).__name__)
