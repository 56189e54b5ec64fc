"""Semantic maps listed in a JSONL file as a data set."""
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.fileio import join_path

from maskforge.formats.image_header import read_image_size
from maskforge.formats.label_map import read_label_map
from maskforge.formats.segmentation_jsonl import MaskPair, read_segmentation_jsonl
from maskforge.registry import DATASETS

from .base_det_dataset import BaseDetDataset
from .class_names import make_palette


@DATASETS.register_module()
class SemanticJsonlDataset(BaseDetDataset):
    """Pairs of an image and a one-channel PNG of class values, as ADE20K is prepared for.

    In the PNG 0 is ignored and k from 1 is class k - 1; load it with
    ``LoadAnnotations(with_bbox=False, with_label=False, with_seg=True, reduce_zero_label=True)``. Records have
    ``img_path``, ``seg_map_path``, ``height``, ``width`` (unless ``check_files`` is False), ``num_classes``, which
    ``LoadAnnotations`` holds the map against, and ``img_id``, the number of the line from 1.

    Args:
        ann_file: JSONL file, below ``data_root`` unless absolute; its paths are below ``data_root`` too.
        label_map: JSON list of classes (see :mod:`maskforge.formats.label_map`), id k for value k of the PNGs; or
            ``metainfo=dict(classes=...)``.
        check_files: read the headers of all images and masks at the start, so that a missing file or a mask of another
            size than its image is found before the first epoch.
        exif_orientation: images are turned as their EXIF data say, which is what ``LoadImageFromFile`` does. False for
            masks that were made on the unturned pixels; the loader then needs
            ``color_type='color_ignore_orientation'``.

    Raises:
        FileNotFoundError: a file that is listed does not exist.
        ValueError: a line without image or mask, sizes that differ, no classes, or a label map whose ids are not
            1 .. K.
    """

    FILTERS = ('min_size',)  # the list does not say what is in a picture

    def __init__(self, *args: Any, label_map: str | None = None, check_files: bool = True,
                 exif_orientation: bool = True, **kwargs: Any) -> None:
        self.label_map, self.check_files, self.exif_orientation = label_map, check_files, exif_orientation
        if not check_files and (kwargs.get('filter_cfg') or {}).get('min_size'):
            raise ValueError('SemanticJsonlDataset: filter_cfg.min_size needs the sizes of the images, which '
                             'check_files=True reads.')
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the list; see :func:`maskforge.formats.segmentation_jsonl.read_segmentation_jsonl` for the errors."""
        if self.label_map is not None:
            self._use_label_map()
        if not self._metainfo.get('classes'):
            raise ValueError(f'{self.ann_file}: the classes are not known; give the data set label_map, or '
                             f'metainfo=dict(classes=...).')
        count = len(self._metainfo['classes'])
        self._metainfo['category_ids'] = tuple(range(1, count + 1))
        self._metainfo.setdefault('is_thing', (False,) * count)
        return [self._record(pair, number) for number, pair in enumerate(read_segmentation_jsonl(self.ann_file), 1)]

    def columns_of(self, records: Sequence[dict]) -> dict[str, np.ndarray]:
        """The image sizes, where the files were looked at."""
        if not self.check_files:
            raise ValueError(f'{self.ann_file}: the sizes of the images are not known, which grouping by aspect ratio '
                             'asks for; set check_files=True.')
        return super().columns_of(records)

    def _use_label_map(self) -> None:
        label_map = read_label_map(join_path(self.data_root or '', self.label_map))
        if sorted(label_map.ids) != list(range(1, len(label_map.ids) + 1)):
            raise ValueError(f'{self.label_map}: the values of a semantic map are 1 .. K, so its {len(label_map.ids)} '
                             f'classes need the ids 1 .. {len(label_map.ids)}, got {sorted(label_map.ids)}.')
        order = sorted(range(len(label_map.ids)), key=lambda k: label_map.ids[k])
        default = make_palette(len(order))
        self._metainfo['classes'] = tuple(label_map.names[k] for k in order)
        self._metainfo['is_thing'] = tuple(label_map.is_thing[k] for k in order)
        self._metainfo['palette'] = [label_map.palette[k] or default[i] for i, k in enumerate(order)]

    def _record(self, pair: MaskPair, number: int) -> dict:
        image, mask = (join_path(self.data_root or '', name) for name in (pair.image, pair.mask))
        record = dict(img_path=image, seg_map_path=mask, img_id=number, instances=[],
                      num_classes=len(self._metainfo['classes']))
        if self.check_files:
            size, mask_size = read_image_size(image, upright=self.exif_orientation), read_image_size(mask)
            if size != mask_size:
                raise ValueError(f'{pair.place}: the mask {mask} is {mask_size[1]} x {mask_size[0]} pixels, its image '
                                 f'{size[1]} x {size[0]}{self._turning_hint(image, mask_size)}.')
            record.update(height=size[0], width=size[1])
        return record

    def _turning_hint(self, image: str, mask_size: tuple[int, int]) -> str:
        if read_image_size(image, upright=not self.exif_orientation) != mask_size:
            return ''
        if self.exif_orientation:
            return ("; the image's EXIF data turn it, and the mask fits the unturned pixels: set "
                    "exif_orientation=False and LoadImageFromFile(color_type='color_ignore_orientation')")
        return "; the mask fits the image as its EXIF data turn it: set exif_orientation=True"
