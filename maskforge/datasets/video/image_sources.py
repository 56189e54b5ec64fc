"""Pictures as clips of one frame: SA-1B, and any COCO instance annotations."""
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from maskforge.formats import rle
from maskforge.formats.image_header import IMAGE_SUFFIXES
from maskforge.formats.sa1b_json import Sa1bJson
from maskforge.registry import DATASETS

from ..base_det_dataset import BaseDetDataset
from .frame_files import VideoFrame, require_folder
from .name_lists import select_names
from .video_source import Names, Segment, Video, below


class ImageSegments:
    """Masks of one picture, the same in every frame.

    Args:
        rles: object id -> compressed RLE.
        where: the file, for messages.
    """

    def __init__(self, rles: Mapping[int, dict], where: str) -> None:
        self._rles, self._where = dict(rles), where
        self.object_ids = sorted(self._rles)

    def is_annotated(self, frame: VideoFrame) -> bool:
        """Always."""
        return True

    def visible(self, frame: VideoFrame) -> list[int]:
        """All objects: empty masks have been left out."""
        return self.object_ids

    def segment(self, frame: VideoFrame, object_id: int) -> Segment:
        """The RLE."""
        return self._rles[object_id]

    def where(self, frame: VideoFrame) -> str:
        """The file."""
        return self._where


class ImageSource:
    """Base of the sources of pictures.

    Args:
        num_frames: a clip shows the picture so many times.
        mask_area_frac_thresh: masks of at least this share of the picture are left out; above 1 (the default) none.
    """

    is_image = True

    def __init__(self, *, num_frames: int, mask_area_frac_thresh: float) -> None:
        if not isinstance(num_frames, int) or num_frames < 1:
            raise ValueError(f'{type(self).__name__}: num_frames={num_frames!r}; a positive whole number is needed.')
        self.num_frames, self.mask_area_frac_thresh = num_frames, mask_area_frac_thresh

    def _video(self, name: str, path: str, rles: Mapping[int, dict], where: str) -> Video:
        kept = {}
        for number, item in rles.items():
            share = rle.area(item) / max(item['size'][0] * item['size'][1], 1)
            if share > 0 and (self.mask_area_frac_thresh > 1 or share < self.mask_area_frac_thresh):
                kept[number] = item
        if not kept:
            raise ValueError(f'{where}: image {name} has no mask that can be used ({len(rles)} annotations; '
                             f'mask_area_frac_thresh={self.mask_area_frac_thresh}).')
        frames = tuple(VideoFrame(place, Path(path).stem, path) for place in range(self.num_frames))
        return Video(name, path, frames, ImageSegments(kept, where), is_image=True)


@DATASETS.register_module()
class SA1BRawDataset(ImageSource):
    """SA-1B: ``img_folder/name.jpg`` and ``gt_folder/name.json``; pictures may lie in folders below.

    Masks without pixels are left out.

    Args:
        img_folder, gt_folder: of the images (any type) and of the JSON files.
        file_list_txt, excluded_videos_list_txt: a list file or several, names of images without ending.
        num_frames, mask_area_frac_thresh: see :class:`ImageSource`; the paper leaves out masks above 0.9.
        uncertain_iou: masks whose ``iou_key`` is below are left out; -1 leaves none out.
        iou_key: key of the records; published files have 'predicted_iou' only.
        data_root: folder that relative paths are below.
    """

    def __init__(self, img_folder: str, gt_folder: str, file_list_txt: str | Sequence[str] | None = None,
                 excluded_videos_list_txt: str | Sequence[str] | None = None, num_frames: int = 1,
                 mask_area_frac_thresh: float = 1.1, uncertain_iou: float = -1, *, iou_key: str = 'uncertain_iou',
                 data_root: str | None = None) -> None:
        super().__init__(num_frames=num_frames, mask_area_frac_thresh=mask_area_frac_thresh)
        self.uncertain_iou, self.iou_key, self._warned = uncertain_iou, iou_key, False
        self.img_folder = require_folder(below(data_root, img_folder), 'img_folder')
        self.gt_folder = require_folder(below(data_root, gt_folder), 'gt_folder')
        suffixes = _image_names(self.img_folder)
        chosen = select_names(sorted(suffixes), file_list=below(data_root, file_list_txt),
                              excluded=below(data_root, excluded_videos_list_txt), folder=self.img_folder)
        self.names = Names([f'{name}{suffixes[name]}' for name in chosen])

    def __len__(self) -> int:
        return len(self.names)

    def video(self, index: int, *, whole: bool = False) -> Video:
        """One picture; :meth:`FolderSource.video` says the errors."""
        path = self.img_folder / self.names[index]
        name = os.path.splitext(self.names[index])[0]
        annotations = Sa1bJson.load(self.gt_folder / f'{name}.json', min_iou=self.uncertain_iou, iou_key=self.iou_key)
        if annotations.lacking and not self._warned:
            self._warned = True
            print_log(f"{annotations.path}: {annotations.lacking} records have no '{self.iou_key}' and are kept, "
                      f'though uncertain_iou={self.uncertain_iou}; published files have iou_key='
                      "'predicted_iou'.", 'current', logging.WARNING)
        rles = {number: annotations.rle(number) for number in annotations.records}
        return self._video(name, str(path), rles, annotations.path)


@DATASETS.register_module()
class CocoRawDataset(ImageSource):
    """The images of a COCO instance JSON that have masks (or of another data set of instances).

    Crowd regions and boxes without masks are left out, and so are images in which nothing is left.

    Args:
        dataset: config of the data set, if it is not ``CocoDataset``; then no other settings of it are given.
        file_list_txt, excluded_videos_list_txt: a list file or several, names of images without ending.
        num_frames, mask_area_frac_thresh: see :class:`ImageSource`.
        **coco: settings of :class:`~maskforge.datasets.CocoDataset`: ``ann_file``, ``data_root``, ``data_prefix``,
            ``metainfo`` (the classes that are used), ``on_defect``, ...
    """

    def __init__(self, dataset: Mapping | BaseDetDataset | None = None, *,
                 file_list_txt: str | Sequence[str] | None = None,
                 excluded_videos_list_txt: str | Sequence[str] | None = None, num_frames: int = 1,
                 mask_area_frac_thresh: float = 1.1, **coco: Any) -> None:
        super().__init__(num_frames=num_frames, mask_area_frac_thresh=mask_area_frac_thresh)
        if dataset is not None and coco:
            raise ValueError(f'CocoRawDataset: {", ".join(coco)} beside dataset=dict(...) has no effect; put it there.')
        self.dataset = _build_instances(dict(type='CocoDataset', **coco) if dataset is None else dataset)
        root = coco.get('data_root')
        self.names, self._rows = self._choose(below(root, file_list_txt), below(root, excluded_videos_list_txt))

    def __len__(self) -> int:
        return len(self._rows)

    def video(self, index: int, *, whole: bool = False) -> Video:
        """One picture; :meth:`FolderSource.video` says the errors."""
        record = self.dataset.get_data_info(int(self._rows[index]))
        size = record['height'], record['width']
        rles = {number: _to_rle(instance['mask'], *size) for number, instance in enumerate(record['instances'], 1)
                if _has_mask(instance)}
        return self._video(self.names[index], record['img_path'], rles, str(self.dataset.ann_file))

    def _choose(self, file_list: Any, excluded: Any) -> tuple[Names, np.ndarray]:
        rows, bare = {}, 0
        for row in range(len(self.dataset)):
            record = self.dataset.get_data_info(row)
            if any(_has_mask(instance) for instance in record['instances']):
                stem = Path(record['img_path']).stem
                rows[stem if stem not in rows else record['img_path']] = row
            else:
                bare += 1
        source = self.dataset.ann_file
        if not rows:
            raise ValueError(f'{source}: none of {bare} images has an object with a mask; boxes alone cannot be learnt '
                             'from here ("maskforge label" makes masks from boxes).')
        if bare:
            print_log(f'{source}: {bare} of {bare + len(rows)} images have no object with a mask and are left out.',
                      'current', logging.INFO)
        chosen = select_names(list(rows), file_list=file_list, excluded=excluded, folder=source)
        return Names(chosen), np.array([rows[name] for name in chosen], np.int64)


def _build_instances(dataset: Mapping | BaseDetDataset) -> BaseDetDataset:
    built = DATASETS.build(dict(dataset)) if isinstance(dataset, Mapping) else dataset
    if not isinstance(built, BaseDetDataset):
        raise ValueError(f'CocoRawDataset: dataset must be one of instances, such as CocoDataset; got '
                         f'{type(built).__name__}.')
    built.full_init()
    return built


def _has_mask(instance: Mapping) -> bool:
    return not instance.get('ignore_flag', 0) and bool(instance.get('mask'))


def _to_rle(mask: Sequence | dict, height: int, width: int) -> dict:
    return rle.compress(mask) if isinstance(mask, Mapping) else rle.from_polygons(mask, height, width)


def _image_names(folder: Path) -> dict[str, str]:
    """Path below ``folder`` without ending -> ending."""
    found: dict[str, str] = {}
    for parent, _, files in os.walk(folder):
        place = '' if Path(parent) == folder else f'{Path(parent).relative_to(folder).as_posix()}/'
        for name in files:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() not in IMAGE_SUFFIXES or name.startswith('.'):
                continue
            if f'{place}{stem}' in found:
                raise ValueError(f'{folder} has two images named {place}{stem}; remove one of them.')
            found[f'{place}{stem}'] = suffix
    if not found:
        raise FileNotFoundError(f'{folder} holds no images ({", ".join(IMAGE_SUFFIXES)}).')
    return found
