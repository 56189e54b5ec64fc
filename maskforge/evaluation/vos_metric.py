"""J&F of the videos that a model has tracked objects through, during training or afterwards."""
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from maskforge.formats import rle
from maskforge.formats.vos_layout import MaskTrack, scan_masks, split_ids
from maskforge.formats.vos_results import LAYOUTS, write_video_masks
from maskforge.registry import METRICS

from .gathered_metric import GatheredMetric
from .region_boundary import BOUND
from .sequence_scores import ObjectScore, SequenceScores
from .vos_report import ScoredObject, VosReport

TABLES = ('object', 'video', 'none')


@dataclass(slots=True)
class VideoResult:
    """Scores of one video, small enough to send between processes."""

    key: tuple
    video: str
    scores: dict[int, ObjectScore]
    left_out: list[str]


@METRICS.register_module()
class VOSMetric(GatheredMetric):
    """J (region), F (outline) and their mean, over all objects of all videos, by the rules of DAVIS and SA-V.

    Result keys: ``vos/JF``, ``vos/J``, ``vos/F``, in [0, 1]; the printed table is in percent. Every object counts the
    same. It counts from the first frame that counts in which the truth or the prediction shows it.

    A sample brings ``pred_masks`` (object id -> list of T RLEs at ``ori_shape``, None where the object is not to be
    seen), ``video_name`` and ``frame_names``; the truth is its ``gt_frames`` or, with ``ann_dir``, read from files.

    Args:
        ann_dir: folder of the true masks, ``video/frame.png`` (pixels are object ids) or ``video/id/frame.png`` (one
            object each, whose own first and last frames are left out).
        skip_first_and_last: leave out the first and the last annotated frame of a video, as for DAVIS and SA-V.
        bound: tolerance of F as a part of the frame's diagonal.
        table: ``'object'`` prints a line for each object, ``'video'`` for each video, ``'none'`` nothing.
        results_file: CSV that is written at every evaluation, one line an object.
        output_dir: predicted masks are written there as PNG, one folder a video.
        layout: of these files, ``'palette'`` or ``'objects'`` (needed where ids are above 255 or masks overlap).
        format_only: write the PNGs and compute nothing; needs ``output_dir``.
        collect_device, prefix, collect_dir: see :class:`GatheredMetric`.

    Raises:
        ValueError: an unknown ``table`` or ``layout``; ``format_only`` without ``output_dir``.
    """

    default_prefix = 'vos'

    def __init__(self, ann_dir: str | Path | None = None, *, skip_first_and_last: bool = True, bound: float = BOUND,
                 table: str = 'object', results_file: str | Path | None = None, output_dir: str | Path | None = None,
                 layout: str = 'palette', format_only: bool = False, collect_device: str = 'cpu',
                 prefix: str | None = None, collect_dir: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        for name, value, allowed in (('table', table, TABLES), ('layout', layout, LAYOUTS)):
            if value not in allowed:
                raise ValueError(f'{name}={value!r} of VOSMetric: allowed are {", ".join(allowed)}.')
        if format_only and output_dir is None:
            raise ValueError('format_only=True writes PNGs: say where with output_dir.')
        self.ann_dir = None if ann_dir is None else Path(ann_dir)
        self.skip_first_and_last, self.bound, self.table = skip_first_and_last, bound, table
        self.results_file = None if results_file is None else Path(results_file)
        self.output_dir = None if output_dir is None else Path(output_dir)
        self.layout, self.format_only = layout, format_only

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Score (and write) each video at once, so that no mask is kept."""
        for sample in data_samples:
            video = _TrackedVideo.from_sample(sample)
            if self.output_dir is not None:
                write_video_masks(self.output_dir / video.name, video.masks, video.frame_names, size=video.size,
                                  layout=self.layout)
            scores, left_out = ({}, []) if self.format_only else self._score(video, sample)
            # a source may have one sample for each object of a video
            key = str(sample.get('source', '')), video.name, *sorted(scores)
            self.results.append(VideoResult(key, video.name, scores, left_out))

    def compute_metrics(self, results: list[VideoResult]) -> dict[str, float]:
        """Mean over all objects; see the class for the keys."""
        if self.format_only:
            return {}
        report = VosReport([ScoredObject(result.video, f'{number:03d}', score) for result in results
                            for number, score in result.scores.items()],
                           [line for result in results for line in result.left_out])
        means = report.means()
        for line in report.left_out:
            print_log(f'VOSMetric: left out: {line}', logger='current')
        if self.table != 'none':
            print_log(f'\n{report.table(by=self.table)}', logger='current')
        if self.results_file is not None:
            report.write_csv(self.results_file)
        return means

    def _score(self, video: '_TrackedVideo', sample: Mapping) -> tuple[dict[int, ObjectScore], list[str]]:
        tracks = _sample_truth(video, sample) if self.ann_dir is None else _folder_truth(video, self.ann_dir)
        found: dict[int, ObjectScore] = {}
        left_out = []
        for track in tracks:
            frames = track.frames[1:-1] if self.skip_first_and_last else track.frames
            scores = SequenceScores(bound=self.bound)
            for frame in frames:
                truth = track.read(frame)
                video.check_size(frame, truth)
                scores.add(video.read(frame, track.object_id), truth, size=video.size)
            found |= scores.scores()
            if not scores.scores():
                left_out.append(f'{track.where}: the truth shows no object in the {len(frames)} frames that count')
        return found, left_out


@dataclass(frozen=True)
class _Truth:
    """Annotated frames (places in the video) of all objects, or of the only one ``object_id``."""

    where: str
    frames: Sequence[int]
    read: Callable[[int], Mapping[int, np.ndarray]]
    object_id: int | None = None


@dataclass(frozen=True)
class _TrackedVideo:
    """What a model predicted for one video."""

    name: str
    frame_names: Sequence[str]
    size: tuple[int, int]
    masks: Mapping[int, Sequence[dict | None]]

    @classmethod
    def from_sample(cls, sample: Mapping) -> '_TrackedVideo':
        name = sample.get('video_name')
        if 'pred_masks' not in sample:
            raise ValueError(f"video {name!r}: the data sample has no pred_masks; the model must return them in "
                             "mode='predict', as SAM2 does for whole videos.")
        frames, size = sample['frame_names'], tuple(int(side) for side in sample['ori_shape'][:2])
        for number, items in sample['pred_masks'].items():
            if len(items) != len(frames):
                raise ValueError(f'video {name!r}: pred_masks has {len(items)} masks of object {number}, the video '
                                 f'{len(frames)} frames.')
            for frame, item in zip(frames, items):
                if item is not None and tuple(item['size']) != size:
                    raise ValueError(f'video {name!r}, frame {frame}: the predicted mask of object {number} has the '
                                     f'size {tuple(item["size"])}, ori_shape is {size} (height, width).')
        return cls(name, frames, size, {int(number): items for number, items in sample['pred_masks'].items()})

    def read(self, frame: int, object_id: int | None) -> dict[int, np.ndarray]:
        """Predicted masks in a frame, of all objects or of one."""
        wanted: Iterable[int] = self.masks if object_id is None else {object_id} & set(self.masks)
        return {number: rle.decode(self.masks[number][frame]) for number in wanted
                if self.masks[number][frame] is not None}

    def check_size(self, frame: int, truth: Mapping[int, np.ndarray]) -> None:
        """Refuse true masks of another size."""
        for number, mask in truth.items():
            if mask.shape != self.size:
                raise ValueError(f'video {self.name!r}, frame {self.frame_names[frame]}: the true mask of object '
                                 f'{number} has {mask.shape[1]} x {mask.shape[0]} pixels, the frames have '
                                 f'{self.size[1]} x {self.size[0]}.')


def _sample_truth(video: _TrackedVideo, sample: Mapping) -> list[_Truth]:
    masks = sample.get('gt_frames')
    if masks is None:
        raise ValueError(f'video {video.name!r}: there is no truth; evaluate on a data set that gives gt_frames '
                         '(WholeVideoDataset), or give VOSMetric the masks as ann_dir.')
    return [_Truth(f'video {video.name}', masks.annotated, masks.__getitem__)]


def _folder_truth(video: _TrackedVideo, ann_dir: Path) -> list[_Truth]:
    places = {name: place for place, name in enumerate(video.frame_names)}
    truths = []
    for track in scan_masks(ann_dir / video.name):
        files = {Path(name).stem: name for name in track.names}
        unknown = [name for stem, name in files.items() if stem not in places]
        if unknown:
            raise ValueError(f'{track.folder / unknown[0]} belongs to no frame of video {video.name!r} (frames '
                             f'{video.frame_names[0]} to {video.frame_names[-1]}); predictions and annotations need '
                             'the same frame names.')
        number = None if track.object_name is None else _object_number(track)
        truths.append(_Truth(str(track.folder), [places[stem] for stem in files],
                             _FrameFiles(track, {places[stem]: name for stem, name in files.items()}, number), number))
    return truths


def _object_number(track: MaskTrack) -> int:
    if not track.object_name.isdecimal():
        raise ValueError(f'{track.folder}: the folder of an object must be named by its id, a whole number.')
    return int(track.object_name)


@dataclass(frozen=True)
class _FrameFiles:
    """Reads the true masks of a frame from its file."""

    track: MaskTrack
    files: Mapping[int, str]
    object_id: int | None

    def __call__(self, frame: int) -> dict[int, np.ndarray]:
        ids = self.track.read(self.files[frame])
        if self.object_id is not None:
            return {self.object_id: ids}
        return split_ids(ids)
