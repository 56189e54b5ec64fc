"""What all detection data sets share: classes, filters, broken records, image sizes."""
import difflib
import logging
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.dist import get_world_size
from mmengine.fileio import join_path
from mmengine.logging import print_log

from maskforge.formats.middle_json import load_plain
from maskforge.registry import DATASETS
from maskforge.structures import sample_rng

from .class_names import check_classes, make_palette
from .pipeline import Pipeline
from .record_faults import RecordFaults, fault_of
from .shared_arrays import SharedArrays, build_once_per_node


@DATASETS.register_module()
class BaseDetDataset(BaseDataset):
    """Base of data sets of images with instances, after MMEngine's contract.

    A subclass implements ``load_data_list() -> list[dict]``; each record has ``img_path``, ``img_id``, ``height``,
    ``width`` and ``instances``, a list of ``dict(bbox=[x0, y0, x1, y1], bbox_label, ignore_flag, mask)``. Without one,
    MMEngine's own JSON format (``metainfo`` and ``data_list``) is read.

    Args:
        ann_file, metainfo, data_root, data_prefix, filter_cfg, indices, serialize_data, pipeline, test_mode,
            lazy_init, max_refetch: as in MMEngine. ``filter_cfg`` knows ``filter_empty_gt`` and ``min_size`` (pixels
            of the shorter side) and has no effect in test mode. ``data_prefix`` knows ``img`` (or ``img_path``),
            ``seg`` and ``panoptic``.
        seg_map_suffix: ending of the semantic maps under ``data_prefix.seg``, which are named as the images.
        backend_args: MMEngine's file back end for the annotation file.
        on_error: 'skip' reports a broken image by name, once, and draws another record; 'raise' ends the run.
            The default is 'skip' in training and 'raise' in test mode, where 'skip' is refused.
        fault_cfg: how often and how long a record is tried before it counts as broken, and how many broken ones end
            the run; see :class:`~maskforge.datasets.record_faults.RecordFaults`.
        on_defect: 'raise' or 'skip' for annotation records that cannot be used.
        share_between_ranks: only one process of a machine reads the annotations, the others use its memory. All
            processes must then build the data set, and records may hold plain values and arrays only. Without it (and
            with ``serialize_data``) each process reads them, and its loader workers use its memory.
    """

    FILTERS: tuple[str, ...] = ('filter_empty_gt', 'min_size')
    PREFIXES: tuple[str, ...] = ('img', 'img_path', 'seg', 'panoptic')

    def __init__(self, *args: Any, seg_map_suffix: str = '.png', backend_args: dict | None = None,
                 on_error: str | None = None, fault_cfg: Mapping[str, Any] | None = None, on_defect: str = 'raise',
                 share_between_ranks: bool = False, **kwargs: Any) -> None:
        self.seg_map_suffix = seg_map_suffix
        self.backend_args = backend_args
        self.on_error = on_error
        self.on_defect = on_defect
        self.share_between_ranks = share_between_ranks
        self._columns: dict[str, np.ndarray] = {}
        self._shared: SharedArrays | None = None
        pipeline = kwargs.pop('pipeline', ())
        lazy_init = kwargs.pop('lazy_init', False)
        super().__init__(*args, pipeline=[], lazy_init=True, **kwargs)
        self.pipeline = Pipeline(pipeline)
        self._check_settings()
        self.faults = RecordFaults(fault_cfg, on_error=self.on_error)
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Read the annotations, unless that is done; afterwards ``metainfo`` has classes, palette, category_ids."""
        if self._fully_initialized:
            return
        if self.share_between_ranks and get_world_size() > 1:
            self._shared, self._metainfo = build_once_per_node(self._read_and_pack)
            self._fully_initialized = True
            self._use_shared()
        else:
            super().full_init()
        self._complete_metainfo()
        self.faults.watch(len(self), source=self._source(), name_of=self._record_name)

    def filter_data(self) -> list[dict]:
        """Leave out records as ``filter_cfg`` says.

        Raises:
            ValueError: nothing is left (or nothing was there); the message says why.
        """
        records = self.data_list
        if self.filter_cfg and not self.test_mode:
            records = self._filter(records)
        if not records:
            raise ValueError(f'{self._source()} has no images.')
        return records

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of the record's instances, without ignored ones (repeat-factor sampling asks for them)."""
        return [instance['bbox_label'] for instance in self.get_data_info(idx)['instances']
                if not instance.get('ignore_flag', 0)]

    def image_sizes(self) -> np.ndarray:
        """(N, 2) int32 height and width of every record, without reading images (aspect-ratio grouping asks)."""
        return self.column('sizes')

    def column(self, name: str) -> np.ndarray:
        """One of the arrays of :meth:`columns_of` for all records."""
        self.full_init()
        if name not in self._columns:
            self._columns = self.columns_of([self.get_data_info(index) for index in range(len(self))])
        return self._columns[name]

    def columns_of(self, records: Sequence[dict]) -> dict[str, np.ndarray]:
        """What samplers ask of all records at once, kept beside the packed records: ``sizes`` (N, 2) int32."""
        sizes = [(record['height'], record['width']) for record in records]
        return dict(sizes=np.array(sizes, np.int32).reshape(-1, 2))

    def get_data_info(self, idx: int) -> dict:
        """The record before the pipeline, with its number under ``sample_idx``."""
        if not self.share_between_ranks:
            return super().get_data_info(idx)
        self.full_init()
        number = idx % len(self)
        start = 0 if number == 0 else int(self.data_address[number - 1])
        # memory that other processes know of: nothing in it may name code to run
        record = load_plain(self.data_bytes[start:int(self.data_address[number])].tobytes())
        return {**record, 'sample_idx': number}

    def broken_records(self) -> list[int]:
        """Indices that could not be read so far, in any worker process of this run."""
        return self.faults.broken()

    def record_faults(self) -> list[RecordFaults]:
        """What the engine reports at the end of an epoch."""
        return [self.faults]

    def __getitem__(self, idx: int) -> Any:
        """Return the record after the pipeline; in training, another one where it is broken or the pipeline gives None.

        Raises:
            ValueError: the record cannot be read (with ``on_error='raise'``), or no usable one was found.
        """
        self.full_init()
        in_a_row = 0
        for _ in range(1 if self.test_mode else self.max_refetch + 1):
            try:
                sample, in_a_row = self.faults.read(idx, partial(self.prepare_data, idx)), 0
            except Exception as error:
                if fault_of(error) is None:
                    raise
                in_a_row += 1
                self.faults.handle(idx, error, in_a_row)
                sample = None
            if sample is not None:
                return sample
            if not self.test_mode:
                idx = self._rand_another()
        if self.test_mode:
            raise ValueError(f'the test pipeline returned None for {self._record_name(idx)}; a test pipeline must not '
                             'drop images.')
        raise ValueError(f'{self._source()}: the pipeline returned None {self.max_refetch + 1} times in a row, '
                         f'last for {self._record_name(idx)}.')

    def get_subset_(self, indices: Sequence[int] | int) -> None:
        """Keep the first (or, if negative, last) records, or those listed."""
        super().get_subset_(indices)
        self._columns, self._shared = {}, None

    def get_subset(self, indices: Sequence[int] | int) -> 'BaseDetDataset':
        """Return a copy with the first (or, if negative, last) records, or those listed."""
        subset = super().get_subset(indices)
        subset._columns, subset._shared = {}, None
        return subset

    def __getstate__(self) -> dict:
        state = dict(self.__dict__)
        if self._shared is not None:  # loader workers that are not forked get the same memory, not a copy
            for name in ('data_bytes', 'data_address', '_columns'):
                state.pop(name, None)
        return state

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        if self._shared is not None:
            self._use_shared()

    def image_path(self, name: str) -> str:
        """Join an image's name with ``data_prefix``."""
        prefix = self.data_prefix.get('img', self.data_prefix.get('img_path', ''))
        return join_path(prefix, name) if prefix else name

    def seg_map_path(self, name: str) -> str | None:
        """Path of the semantic map that belongs to an image's name, or None without ``data_prefix.seg``."""
        prefix = self.data_prefix.get('seg')
        return join_path(prefix, os.path.splitext(name)[0] + self.seg_map_suffix) if prefix else None

    @classmethod
    def _load_metainfo(cls, metainfo: Mapping | None = None) -> dict:
        """MMEngine's merge of class attribute and argument, with the class names checked."""
        given = dict(metainfo or {})
        if isinstance(given.get('classes'), str) and not os.path.isfile(given['classes']):
            check_classes(given['classes'])
        merged = super()._load_metainfo(given)
        if 'classes' in merged:
            merged['classes'] = check_classes(merged['classes'])
        return merged

    def _check_settings(self) -> None:
        allowed = ('raise',) if self.test_mode else ('skip', 'raise')
        if self.on_error is None:
            self.on_error = allowed[0]
        if self.on_error not in allowed:
            why = ' in test mode, where a skipped image would be scored as if seen' if self.test_mode else ''
            raise ValueError(f'on_error={self.on_error!r}: allowed are {", ".join(allowed)}{why}.')
        if self.on_defect not in ('raise', 'skip'):
            raise ValueError(f'on_defect={self.on_defect!r}: allowed are raise, skip.')
        if self.share_between_ranks and not self.serialize_data:
            raise ValueError('share_between_ranks=True needs serialize_data=True.')
        # a subclass that reads further keys adds them to FILTERS or PREFIXES
        _check_keys('filter_cfg', self.filter_cfg or {}, self.FILTERS)
        _check_keys('data_prefix', self.data_prefix, self.PREFIXES)

    def _complete_metainfo(self) -> None:
        classes = self._metainfo.get('classes')
        if classes is None:
            return
        self._metainfo['classes'] = tuple(classes)
        self._metainfo.setdefault('category_ids', tuple(range(len(classes))))
        if len(self._metainfo.get('palette') or ()) != len(classes):
            self._metainfo['palette'] = make_palette(len(classes))

    def _filter(self, records: list[dict]) -> list[dict]:
        min_size = self.filter_cfg.get('min_size', 0)
        large = [record for record in records if min(record['height'], record['width']) >= min_size]
        kept = large
        if self.filter_cfg.get('filter_empty_gt', False):
            kept = [r for r in large if any(not instance.get('ignore_flag', 0) for instance in r['instances'])]
        text = (f'{self._source()}: filter_cfg keeps {len(kept)} of {len(records)} images; {len(records) - len(large)} '
                f'are smaller than min_size={min_size}, {len(large) - len(kept)} have no object of the '
                f'{len(self._metainfo.get("classes", ()))} classes')
        if records and not kept:
            raise ValueError(f'{text}. Nothing is left to train on.')
        if len(kept) < len(records):
            print_log(f'{text}.', 'current', logging.INFO)
        return kept

    def _serialize_data(self) -> tuple[np.ndarray, np.ndarray]:
        """Pack the records, and what samplers ask of them, into memory that loader workers share."""
        known = self.data_list and all('height' in record and 'width' in record for record in self.data_list)
        columns = self.columns_of(self.data_list) if known else {}
        packed, ends = super()._serialize_data()
        self._shared = SharedArrays.create(dict(packed=packed, ends=ends, **columns))
        self._use_shared()
        return self.data_bytes, self.data_address

    def _read_and_pack(self) -> tuple[SharedArrays, dict]:
        super().full_init()
        return self._shared, self._metainfo

    def _use_shared(self) -> None:
        self._columns = dict(self._shared)
        self.data_bytes, self.data_address = self._columns.pop('packed'), self._columns.pop('ends')

    def _rand_another(self) -> int:
        return int(sample_rng().integers(len(self)))

    def _record_name(self, idx: int) -> str:
        return str(self.get_data_info(idx).get('img_path', f'record {idx}'))

    def _source(self) -> str:
        return str(self.ann_file) if self.ann_file else type(self).__name__


def _check_keys(what: str, given: Mapping, allowed: Sequence[str]) -> None:
    for key in given:
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, n=1)
            hint = f'did you mean {near[0]}?' if near else f'allowed are {", ".join(allowed)}.'
            raise ValueError(f"{what} has an unknown key '{key}': {hint}")
