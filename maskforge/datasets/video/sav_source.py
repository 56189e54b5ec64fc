"""SA-V's training split: frames in folders, masks of a video in one JSON file."""
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from maskforge.formats.sav_json import SavJson
from maskforge.registry import DATASETS

from .frame_files import VideoFrame
from .video_source import FolderSource, Segment, Segments


class SavSegments:
    """Masks of one JSON file.

    Args:
        annotations: the file.
        complete: a frame counts as annotated only if every object has a mask there, be it empty.
    """

    def __init__(self, annotations: SavJson, *, complete: bool) -> None:
        self.annotations, self.object_ids = annotations, sorted(annotations.object_ids)
        self._annotated = set(annotations.annotated_frames(complete=complete))

    def is_annotated(self, frame: VideoFrame) -> bool:
        """Whether the file has the frame."""
        return frame.number in self._annotated

    def visible(self, frame: VideoFrame) -> list[int]:
        """Objects with pixels."""
        return sorted(self.annotations.visible(frame.number))

    def segment(self, frame: VideoFrame, object_id: int) -> Segment:
        """The RLE."""
        return self.annotations.rle(frame.number, object_id)

    def where(self, frame: VideoFrame) -> str:
        """The file and the frame."""
        return f'{self.annotations.path}, frame {frame.number}'


@DATASETS.register_module()
class JSONRawDataset(FolderSource):
    """Videos of SA-V: ``img_folder/video/00000.jpg`` ... and ``gt_folder/video_manual.json``.

    Names of frames are their numbers at the full rate, as ``tools/dataset_converters/sav_frames.py`` writes them.

    Args:
        img_folder, gt_folder, data_root, file_list_txt, excluded_videos_list_txt, sample_rate, truncate_video: see
            :class:`FolderSource`.
        rm_unannotated: learn only from frames in which every object is annotated. Without it, a mask that is not there
            counts as empty, as in the original.
        ann_every: frames from one annotation to the next (SA-V: 4); a rate in the file overrides it, with
            ``frames_fps``.
        frames_fps: rate of the frames.
        suffix: of the annotation files; '_auto.json' for SA-V's automatic masklets.
        cached_files: parsed files that stay in memory, in each process.
    """

    def __init__(self, img_folder: str, gt_folder: str, file_list_txt: str | Sequence[str] | None = None,
                 excluded_videos_list_txt: str | Sequence[str] | None = None, sample_rate: int = 1,
                 rm_unannotated: bool = True, ann_every: int = 1, frames_fps: int = 24, *,
                 data_root: str | None = None, truncate_video: int = -1, suffix: str = '_manual.json',
                 cached_files: int = 8) -> None:
        if ann_every < 1 or frames_fps < 1 or cached_files < 1:
            raise ValueError(f'JSONRawDataset: ann_every={ann_every}, frames_fps={frames_fps} and '
                             f'cached_files={cached_files} must be at least 1.')
        self.rm_unannotated, self.ann_every, self.frames_fps = rm_unannotated, ann_every, frames_fps
        self.suffix, self.cached_files = suffix, cached_files
        self._parsed: OrderedDict[str, SavJson] = OrderedDict()
        super().__init__(img_folder, gt_folder, data_root=data_root, file_list_txt=file_list_txt,
                         excluded_videos_list_txt=excluded_videos_list_txt, sample_rate=sample_rate,
                         truncate_video=truncate_video)

    def annotation_path(self, name: str) -> Path:
        """The JSON file of a video."""
        return self.gt_folder / f'{name}{self.suffix}'

    def segments_of(self, name: str, frames: Sequence[VideoFrame]) -> Segments:
        """The masks of a video, parsed once as long as they are in memory."""
        if name not in self._parsed:
            while len(self._parsed) >= self.cached_files:
                self._parsed.popitem(last=False)
            self._parsed[name] = SavJson.load(self.annotation_path(name), ann_every=self.ann_every,
                                              frames_fps=self.frames_fps)
        self._parsed.move_to_end(name)
        return SavSegments(self._parsed[name], complete=self.rm_unannotated)

    def training_frames(self, frames: list[VideoFrame], segments: Segments) -> list[VideoFrame]:
        """Annotated frames, or all of them."""
        return super().training_frames(frames, segments) if self.rm_unannotated else frames

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_parsed': OrderedDict()}
