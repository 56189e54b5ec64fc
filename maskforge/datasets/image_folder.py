"""Folders of images without annotations."""
from collections.abc import Mapping
from typing import Any

from mmengine.fileio import join_path

from maskforge.formats.category_rows import names_by_id
from maskforge.formats.class_list import read_class_list
from maskforge.formats.image_header import list_images, read_image_size
from maskforge.registry import DATASETS

from .base_det_dataset import BaseDetDataset
from .category_labels import check_label_mode
from .coco_sources import check_sources


@DATASETS.register_module()
class ImageFolderDataset(BaseDetDataset):
    """Images of one or more folders (searched to the bottom, sorted), for inference and submissions.

    Args:
        data_sources: ``dict(image_dir=..., classmap=...)``. ``image_dir`` is a folder or a list of them, ``classmap``
            a text file with one class name a line; the category id is the line's number, from 1.
        label_mode: as in :class:`CocoDataset`: 'category_id' for a model with one row per id (lines + 1 rows).
        data_root: folder that relative paths are below.
        **kwargs: settings of :class:`BaseDetDataset`; it is always in test mode.

    Raises:
        FileNotFoundError, ValueError: a folder without images, or a class map that is missing or broken.
    """

    def __init__(self, data_sources: Mapping, *, label_mode: str = 'contiguous', **kwargs: Any) -> None:
        check_label_mode(label_mode, None)
        self.label_mode = label_mode
        self.source, *others = check_sources(data_sources, ('image_dir', 'classmap'))
        if others:
            raise ValueError(f'ImageFolderDataset takes one source, got {len(others) + 1}; image_dir may be a list.')
        super().__init__(**{**kwargs, 'test_mode': True})

    def load_data_list(self) -> list[dict]:
        """List the images and read their sizes."""
        names = read_class_list(self._path(self.source['classmap']))
        by_id = dict(enumerate(names, 1))
        rows = self.label_mode == 'category_id'
        self._metainfo['classes'] = names_by_id(by_id, len(names) + 1) if rows else tuple(names)
        self._metainfo['category_ids'] = tuple(range(len(names) + 1)) if rows else tuple(by_id)
        folders = self.source['image_dir']
        paths = [path for folder in ([folders] if isinstance(folders, str) else folders)
                 for path in list_images(self._path(folder))]
        sizes = [read_image_size(path, upright=True) for path in paths]
        return [dict(img_path=str(path), img_id=number, height=height, width=width, instances=[])
                for number, (path, (height, width)) in enumerate(zip(paths, sizes), 1)]

    def _path(self, name: str) -> str:
        return join_path(self.data_root, name) if self.data_root else name

    def _source(self) -> str:
        return str(self.source['image_dir'])
