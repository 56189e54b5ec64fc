"""What the layouts of video data have in common: names, and videos with masks that are read when asked for."""
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from mmengine.logging import print_log

from .frame_files import VideoFrame, list_frames, require_folder
from .name_lists import select_names

#: a mask that is not drawn yet: (H, W) bool pixels or a compressed RLE dict; None where the object is not to be seen
Segment = np.ndarray | dict | None


@runtime_checkable
class Segments(Protocol):
    """Masks of one video."""

    #: ids of all objects where that is known without reading every frame, else None
    object_ids: list[int] | None

    def is_annotated(self, frame: VideoFrame) -> bool:
        """Whether the frame has annotations, be they empty."""

    def visible(self, frame: VideoFrame) -> list[int]:
        """Ids of the objects that have pixels in the frame, rising."""

    def segment(self, frame: VideoFrame, object_id: int) -> Segment:
        """The mask of one object."""

    def where(self, frame: VideoFrame) -> str:
        """The file of the frame's masks, for messages."""


@dataclass(frozen=True)
class Video:
    """One record of a source.

    Attributes:
        name: unique in the source. path: folder or file, for messages.
        frames: in their order. segments: their masks.
        is_image: a picture, shown in every frame.
    """

    name: str
    path: str
    frames: tuple[VideoFrame, ...]
    segments: Segments
    is_image: bool = False


class Names(Sequence):
    """A long list of names in one block of memory, which loader workers share instead of copying it."""

    def __init__(self, names: Sequence[str]) -> None:
        encoded = [name.encode('utf-8') for name in names]
        self._ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
        self._text = np.frombuffer(b''.join(encoded), np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        start = int(self._ends[index - 1]) if index else 0
        return self._text[start:int(self._ends[index])].tobytes().decode('utf-8')


class FolderSource:
    """Base of the sources with one folder of frames a video. A subclass implements ``segments_of``.

    Args:
        img_folder: holds one folder a video, named as the video; frames are of any image type.
        gt_folder: holds the annotations.
        data_root: folder that relative paths are below.
        file_list_txt, excluded_videos_list_txt: a list file, or several: names of the videos that are used (all by
            default) and of those that are left out. One name a line; names may have dots.
        sample_rate: take every so many-th frame.
        truncate_video: use only the first so many frames of each video (before ``sample_rate``); -1 uses all.
    """

    is_image = False

    def __init__(self, img_folder: str, gt_folder: str, *, data_root: str | None = None,
                 file_list_txt: str | Sequence[str] | None = None,
                 excluded_videos_list_txt: str | Sequence[str] | None = None, sample_rate: int = 1,
                 truncate_video: int = -1) -> None:
        if not isinstance(sample_rate, int) or sample_rate < 1:
            raise ValueError(f'{type(self).__name__}: sample_rate={sample_rate!r}; a positive whole number is needed.')
        if not isinstance(truncate_video, int) or (truncate_video < 1 and truncate_video != -1):
            raise ValueError(f'{type(self).__name__}: truncate_video={truncate_video!r}; a positive whole number is '
                             'needed, or -1 for all frames.')
        self.img_folder = require_folder(below(data_root, img_folder), 'img_folder')
        self.gt_folder = require_folder(below(data_root, gt_folder), 'gt_folder')
        self.sample_rate, self.truncate_video = sample_rate, truncate_video
        available = sorted(path.name for path in self.img_folder.iterdir()
                           if path.is_dir() and not path.name.startswith('.'))
        lists = (below(data_root, given) for given in (file_list_txt, excluded_videos_list_txt))
        chosen = select_names(available, file_list=next(lists), excluded=next(lists), folder=self.img_folder,
                              exists=lambda name: (self.img_folder / name).is_dir())
        self.names = Names(self.expand(self._with_annotations(chosen)))

    def __len__(self) -> int:
        return len(self.names)

    def expand(self, names: list[str]) -> list[str]:
        """The records: one a video, unless a subclass splits or repeats them."""
        return names

    def segments_of(self, name: str, frames: Sequence[VideoFrame]) -> Segments:
        """The masks of a record."""
        raise NotImplementedError

    def annotation_path(self, name: str) -> Path:
        """Where the annotations of a video are."""
        return self.gt_folder / name

    def folder_of(self, name: str) -> Path:
        """The folder of the frames of a record."""
        return self.img_folder / name

    def video(self, index: int, *, whole: bool = False) -> Video:
        """One record.

        Args:
            whole: keep frames without annotations, as evaluation does.

        Raises:
            FileNotFoundError, ValueError: no frames, or annotations that do not fit; the message names the files.
        """
        name = self.names[index]
        folder = self.folder_of(name)
        frames = list_frames(folder)
        if self.truncate_video > 0:
            frames = frames[:self.truncate_video]
        segments = self.segments_of(name, frames)
        frames = frames[::self.sample_rate]
        if not whole:
            frames = self.training_frames(frames, segments)
            if not frames:
                raise ValueError(f'video {folder} has no annotated frames: {self.annotation_path(name)} has none for '
                                 f'its frames (sample_rate={self.sample_rate}, truncate_video={self.truncate_video}).')
        return Video(name, str(folder), tuple(frames), segments)

    def training_frames(self, frames: list[VideoFrame], segments: Segments) -> list[VideoFrame]:
        """The frames that may be learnt from."""
        return [frame for frame in frames if segments.is_annotated(frame)]

    def _with_annotations(self, names: list[str]) -> list[str]:
        kept = [name for name in names if self.annotation_path(name).exists()]
        if names and not kept:
            raise ValueError(f'none of the {len(names)} videos of {self.img_folder} has annotations in '
                             f'{self.gt_folder}, for {names[0]} that would be {self.annotation_path(names[0])}.')
        if len(kept) < len(names):
            lacking = [name for name in names if name not in set(kept)]
            print_log(f'{len(lacking)} of {len(names)} videos of {self.img_folder} have no annotations in '
                      f'{self.gt_folder} and are left out: {", ".join(lacking[:3])}{", ..." * (len(lacking) > 3)}.',
                      'current', logging.WARNING)
        return kept


def below(root: str | None, paths: str | Path | Sequence | None) -> str | Path | list | None:
    """Put a relative path, or each of several, below ``root``."""
    if paths is None or root is None:
        return paths
    if isinstance(paths, (str, Path)):
        return Path(root) / paths
    return [Path(root) / path for path in paths]
