"""Several sources of COCO files, whole or in shards, as one data set."""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.fileio import join_path

from maskforge.formats.coco_files import CocoFiles, find_json_files
from maskforge.registry import DATASETS

from .coco import CocoDataset

DATASET_TYPES = ('serialized', 'default')
#: settings of CocoDataset that the sources, or dataset_type, say here
_REPLACED = ('ann_file', 'data_prefix', 'serialize_data', 'share_between_ranks')


@DATASETS.register_module()
class CocoSourcesDataset(CocoDataset):
    """Images and instances of one or more sources, one after another.

    Category ids and names of all files must agree; the classes are those of all files together. Image ids that two
    files share are renumbered, so that every image has its own (see :class:`CocoFiles`; ``CocoMetric`` does the same
    with a list of ``ann_file`` in the same order).

    Args:
        data_sources: ``dict(image_dir=..., json_file=...)`` or a list of them. ``json_file`` is a file, a pattern
            (``shards/*``), or a list of these; ``image_dir`` is what the file names in it are relative to.
        dataset_type: 'serialized' keeps the annotations once per machine, in memory that all its processes and loader
            workers share. 'default' keeps Python objects in every process, of which every worker ends up with a copy.
        data_root: folder that relative paths of the sources are below.
        **kwargs: settings of :class:`CocoDataset`.

    Raises:
        FileNotFoundError: a file is missing, or a pattern matches nothing.
        ValueError: there is no source, a source lacks a key, or the files contradict each other.
    """

    def __init__(self, data_sources: Mapping | Sequence[Mapping], *, dataset_type: str = 'serialized',
                 **kwargs: Any) -> None:
        replaced = [key for key in _REPLACED if key in kwargs]
        if replaced:
            raise ValueError(f'CocoSourcesDataset: {replaced[0]} is not set; data_sources and dataset_type say it.')
        if dataset_type not in DATASET_TYPES:
            raise ValueError(f'dataset_type={dataset_type!r}: allowed are {", ".join(DATASET_TYPES)}.')
        self.sources = check_sources(data_sources, ('image_dir', 'json_file'))
        shared = dataset_type == 'serialized'
        super().__init__(data_prefix={}, serialize_data=shared, share_between_ranks=shared, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read all files."""
        paths = [find_json_files(source['json_file'], root=self.data_root) for source in self.sources]
        files = CocoFiles.load([path for some in paths for path in some], on_defect=self.on_defect,
                               require_annotations=not self.test_mode, backend_args=self.backend_args)
        label_of = self._select_classes(files.files[0])
        source_of = np.repeat(np.arange(len(paths)), [len(some) for some in paths]).tolist()
        records = []
        for number, (coco, ids) in enumerate(files):
            folder = self._image_dir(self.sources[source_of[number]]['image_dir'])
            for record, identity in zip(self._records(coco, label_of), ids.tolist()):
                record.update(img_id=identity, img_path=join_path(folder, record['img_path']),
                              origin=(source_of[number], number))
                records.append(record)
        return records

    def record_origins(self) -> np.ndarray:
        """(N, 2) int32 source and file of every record, both counted from 0 (samplers ask)."""
        return self.column('origins')

    def columns_of(self, records: Sequence[dict]) -> dict[str, np.ndarray]:
        """The image sizes, and ``origins`` (N, 2) int32."""
        origins = np.array([record['origin'] for record in records], np.int32).reshape(-1, 2)
        return dict(super().columns_of(records), origins=origins)

    def _image_dir(self, folder: str) -> str:
        return join_path(self.data_root, str(folder)) if self.data_root else str(folder)

    def _source(self) -> str:
        return ', '.join(str(source['json_file']) for source in self.sources)


def check_sources(data_sources: Mapping | Sequence[Mapping], keys: Sequence[str]) -> list[dict]:
    """One source or a list of them as a list, each with exactly these keys.

    Raises:
        ValueError: the list is empty, or a source has a key too many or too few.
    """
    listed = [data_sources] if isinstance(data_sources, Mapping) else list(data_sources or ())
    form = f'dict({", ".join(f"{key}=..." for key in keys)})'
    if not listed:
        raise ValueError(f'data_sources is empty; at least one {form} is needed.')
    for number, source in enumerate(listed):
        if not isinstance(source, Mapping) or set(source) != set(keys):
            raise ValueError(f'data_sources[{number}] is {source!r}; {form} is needed.')
    return [dict(source) for source in listed]
