"""Masks as PNG files: DAVIS, MOSE, YouTube-VOS (one palette PNG a frame), SA-V's validation split (one an object)."""
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskforge.formats.json_file import read_json_dict
from maskforge.formats.palette_png import read_id_png
from maskforge.registry import DATASETS

from .frame_files import VideoFrame, list_frames, match_masks, require_folder
from .video_source import FolderSource, Segment, Segments, below

#: decoded frames that stay in memory: the sampler looks at a frame before it is loaded
_KEPT = 4
UNANNOTATED = ('error', 'drop', 'empty')


class PaletteSegments:
    """One PNG a frame, whose pixels are object ids.

    Args:
        folder: of the PNGs. frames: of the video.
        object_ids: ids that count; None for all that occur.
    """

    def __init__(self, folder: Path, frames: Sequence[VideoFrame], object_ids: list[int] | None) -> None:
        self.folder, self.object_ids = folder, object_ids
        self._files = match_masks(frames, folder)
        if not self._files and any(path.is_dir() for path in folder.iterdir()):
            raise ValueError(f'{folder} holds folders instead of mask PNGs: one folder an object needs '
                             'is_palette=False.')
        self._ids: OrderedDict[str, np.ndarray] = OrderedDict()

    def is_annotated(self, frame: VideoFrame) -> bool:
        """Whether the frame has a PNG."""
        return frame.name in self._files

    def visible(self, frame: VideoFrame) -> list[int]:
        """Ids in the PNG but 0."""
        ids = self._read(frame)
        found = [number for number in np.flatnonzero(np.bincount(ids.ravel())).tolist() if number]
        return found if self.object_ids is None else [number for number in found if number in self.object_ids]

    def segment(self, frame: VideoFrame, object_id: int) -> Segment:
        """The pixels of one id."""
        return self._read(frame) == object_id if self.is_annotated(frame) else None

    def where(self, frame: VideoFrame) -> str:
        """The PNG."""
        return str(self._files.get(frame.name, self.folder / f'{frame.name}.png'))

    def _read(self, frame: VideoFrame) -> np.ndarray:
        if frame.name not in self._files:
            return np.zeros((1, 1), np.uint8)
        if frame.name not in self._ids:
            while len(self._ids) >= _KEPT:
                self._ids.popitem(last=False)
            self._ids[frame.name] = read_id_png(self._files[frame.name])
        return self._ids[frame.name]

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_ids': OrderedDict()}


class ObjectFolderSegments:
    """One folder an object, named by its id, with one binary PNG a frame.

    Args:
        folder: of the objects' folders. frames: of the video.
        object_ids: ids that count; None for all.
        missing_masks: 'empty' or 'error', what an annotated frame means that has no PNG of an object.
    """

    def __init__(self, folder: Path, frames: Sequence[VideoFrame], object_ids: list[int] | None,
                 missing_masks: str) -> None:
        self.folder, self.missing_masks = folder, missing_masks
        self._files = {number: match_masks(frames, path) for number, path in object_folders(folder).items()
                       if object_ids is None or number in object_ids}
        self.object_ids = sorted(self._files)
        self._masks: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()

    def is_annotated(self, frame: VideoFrame) -> bool:
        """Whether any object has a PNG of the frame."""
        return any(frame.name in files for files in self._files.values())

    def visible(self, frame: VideoFrame) -> list[int]:
        """Objects whose PNG is not empty."""
        return [number for number in self.object_ids if (mask := self.segment(frame, number)) is not None
                and mask.any()]

    def segment(self, frame: VideoFrame, object_id: int) -> Segment:
        """The pixels of the object's PNG that are not 0.

        Raises:
            ValueError: there is none, and ``missing_masks`` is 'error'.
        """
        path = self._files[object_id].get(frame.name)
        if path is None:
            if self.missing_masks == 'error' and self.is_annotated(frame):
                raise ValueError(f'object {object_id} of {self.folder} has no mask of frame {frame.name}, which other '
                                 "objects have; missing_masks='empty' takes it as not to be seen.")
            return None
        key = frame.name, object_id
        if key not in self._masks:
            while len(self._masks) >= _KEPT * max(len(self._files), 1):
                self._masks.popitem(last=False)
            self._masks[key] = read_id_png(path) > 0
        return self._masks[key]

    def where(self, frame: VideoFrame) -> str:
        """The pattern of the PNGs."""
        return f'{self.folder}/*/{frame.name}.png'

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_masks': OrderedDict()}


@DATASETS.register_module()
class PNGRawDataset(FolderSource):
    """Videos with masks as PNG files.

    ``is_palette=True``: ``gt_folder/video/frame.png``, pixels are object ids, 0 is background.
    ``is_palette=False``: ``gt_folder/video/object id/frame.png``, pixels other than 0 are the object.

    Args:
        img_folder, gt_folder, data_root, file_list_txt, excluded_videos_list_txt, sample_rate, truncate_video: see
            :class:`FolderSource`.
        is_palette: the layout.
        single_object_mode: a record is one object of a video, named ``video/object``, not a video with all its
            objects.
        frames_sampling_mult: repeat each video by its number of frames, so that frames, not videos, are drawn alike.
        unannotated_frames: what a frame without any PNG means. 'error': the video is broken; the default of palette
            files, whose every frame has one. 'drop': it is not learnt from; the default of one folder an object (SA-V
            has frames at 24 and masks at 6 a second). 'empty': no object is to be seen, as the original takes it.
        missing_masks: with one folder an object, what a missing PNG means where other objects have one: 'empty' (the
            object is not to be seen, as SA-V leaves such files out) or 'error'.
    """

    def __init__(self, img_folder: str, gt_folder: str, file_list_txt: str | Sequence[str] | None = None,
                 excluded_videos_list_txt: str | Sequence[str] | None = None, sample_rate: int = 1,
                 is_palette: bool = True, single_object_mode: bool = False, truncate_video: int = -1,
                 frames_sampling_mult: bool = False, *, data_root: str | None = None,
                 unannotated_frames: str | None = None, missing_masks: str = 'empty') -> None:
        if unannotated_frames is None:
            unannotated_frames = 'error' if is_palette else 'drop'
        if unannotated_frames not in UNANNOTATED or missing_masks not in ('empty', 'error'):
            raise ValueError(f'unannotated_frames={unannotated_frames!r} must be one of {", ".join(UNANNOTATED)}, '
                             f'missing_masks={missing_masks!r} empty or error.')
        self.is_palette, self.single_object_mode = is_palette, single_object_mode
        self.frames_sampling_mult = frames_sampling_mult
        self.unannotated_frames, self.missing_masks = unannotated_frames, missing_masks
        super().__init__(img_folder, gt_folder, data_root=data_root, file_list_txt=file_list_txt,
                         excluded_videos_list_txt=excluded_videos_list_txt, sample_rate=sample_rate,
                         truncate_video=truncate_video)

    def object_ids_of(self, name: str) -> list[int] | None:
        """Ids of a video's objects where they are known without reading its masks."""
        return None if self.is_palette else sorted(object_folders(self.gt_folder / name))

    def expand(self, names: list[str]) -> list[str]:
        """Videos, or objects of videos; repeated by their frames if asked for."""
        if self.single_object_mode:
            if names and self.object_ids_of(names[0]) is None:
                raise ValueError(f'single_object_mode=True needs the ids of the objects of {self.gt_folder / names[0]} '
                                 'ahead: of one folder an object (is_palette=False), or of a meta.json '
                                 '(YouTubeVOSRawDataset).')
            names = [f'{name}/{number}' for name in names for number in self.object_ids_of(name) or ()]
        if self.frames_sampling_mult:
            names = [name for name in names for _ in list_frames(self.folder_of(name))]
        return names

    def folder_of(self, name: str) -> Path:
        """The folder of the frames of a record."""
        return self.img_folder / self._split(name)[0]

    def segments_of(self, name: str, frames: Sequence[VideoFrame]) -> Segments:
        """The masks of a record."""
        video, only = self._split(name)
        folder = require_folder(self.gt_folder / video, 'folder of masks')
        if self.is_palette:
            return PaletteSegments(folder, frames, self.object_ids_of(video) if only is None else [only])
        return ObjectFolderSegments(folder, frames, None if only is None else [only], self.missing_masks)

    def training_frames(self, frames: list[VideoFrame], segments: Segments) -> list[VideoFrame]:
        """Leave out, refuse or keep frames without masks."""
        if self.unannotated_frames == 'empty':
            return frames
        annotated = [frame for frame in frames if segments.is_annotated(frame)]
        if len(annotated) < len(frames) and self.unannotated_frames == 'error':
            lacking = [frame for frame in frames if not segments.is_annotated(frame)]
            raise ValueError(f'{len(lacking)} of {len(frames)} frames have no mask, first {lacking[0].path}: '
                             f"{segments.where(lacking[0])} does not exist. unannotated_frames='drop' leaves such "
                             "frames out, 'empty' takes them as showing no object.")
        return annotated

    def _split(self, name: str) -> tuple[str, int | None]:
        if not self.single_object_mode:
            return name, None
        video, number = name.rsplit('/', 1)
        return video, int(number)


@DATASETS.register_module()
class YouTubeVOSRawDataset(PNGRawDataset):
    """YouTube-VOS: palette PNGs of some frames, and the objects' ids in ``meta.json``.

    Args:
        img_folder, gt_folder, **kwargs: as in :class:`PNGRawDataset`; frames without PNG are left out by default.
        meta_file: below ``data_root``; by default the ``meta.json`` beside ``gt_folder``, where there is one. Ids that
            it does not list are no objects.
    """

    def __init__(self, img_folder: str, gt_folder: str, *, meta_file: str | None = None,
                 unannotated_frames: str = 'drop', **kwargs: Any) -> None:
        beside = Path(below(kwargs.get('data_root'), gt_folder)).parent / 'meta.json'
        path = below(kwargs.get('data_root'), meta_file) or (beside if beside.is_file() else None)
        self._ids_of = {} if path is None else _read_meta(path)
        super().__init__(img_folder, gt_folder, unannotated_frames=unannotated_frames, **{**kwargs, 'is_palette': True})

    def object_ids_of(self, name: str) -> list[int] | None:
        """Ids of the video in ``meta.json``; None without one."""
        return self._ids_of.get(name)


def object_folders(folder: Path) -> dict[int, Path]:
    """Object id -> folder of its PNGs.

    Raises:
        FileNotFoundError: there is no such folder, or no object in it.
        ValueError: a name is no number, or two names are the same one.
    """
    found: dict[int, Path] = {}
    for path in sorted(require_folder(folder, 'folder of masks').iterdir()):
        if not path.is_dir():
            continue
        if not path.name.isdecimal():
            raise ValueError(f'{path}: the folder of an object must be named by its id, a whole number.')
        if int(path.name) in found:
            raise ValueError(f'{found[int(path.name)]} and {path} are the same object; ids are whole numbers.')
        found[int(path.name)] = path
    if not found:
        hint = ': mask PNGs of all objects together need is_palette=True' if any(folder.glob('*.png')) else ''
        raise FileNotFoundError(f'{folder} has no folders of objects{hint}.')
    return found


def _read_meta(path: str | Path) -> dict[str, list[int]]:
    videos = read_json_dict(path).get('videos')
    if not isinstance(videos, dict):
        raise ValueError(f"{path} has no 'videos': an object of video names is needed, as YouTube-VOS' meta.json has.")
    found = {}
    for name, video in videos.items():
        objects = video.get('objects') if isinstance(video, dict) else None
        ids = [str(number) for number in objects] if isinstance(objects, dict) else None
        if ids is None or not all(number.isdecimal() for number in ids):
            raise ValueError(f"{path}, video {name}: 'objects' must be named by their ids, whole numbers; got "
                             f'{ids if ids is not None else type(objects).__name__}.')
        found[name] = sorted(int(number) for number in ids)
    return found
