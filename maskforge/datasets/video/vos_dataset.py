"""Clips of videos (or pictures) with the masks of some objects: what SAM 2 learns from."""
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch.utils.data import Dataset

from maskforge.registry import DATA_SAMPLERS, DATASETS
from maskforge.structures import sample_rng

from ..record_faults import MAX_BROKEN_IN_A_ROW, RecordFaults, fault_of
from ..transforms.clip_pipeline import build_clip_pipeline
from .clip_loading import load_clip


@DATASETS.register_module()
class VOSDataset(Dataset):
    """Draws a clip of each video and hands it to the transforms.

    A sample is ``dict(inputs=(T, 3, H, W) uint8 BGR, data_samples=ClipSample)``; see :class:`PackClip`.

    A video that cannot be used (unreadable frame or mask, no object, too short; in reading and in the transforms) is
    named once and another one is drawn; after 10 in a row the run ends. In test mode the first one ends it.

    Args:
        video_dataset: the source: ``PNGRawDataset``, ``JSONRawDataset``, ``SA1BRawDataset``, ``YouTubeVOSRawDataset``,
            ``CocoRawDataset``, or an object like them.
        sampler: ``RandomUniformSampler`` or ``EvalSampler``.
        pipeline: transforms of clips, ending with ``PackClip``; neighbouring geometric ones are done in one warp.
        multiplier: how often an epoch draws each video. Of 2.5, every video comes twice and every second one a third
            time, another half in each epoch; all epochs have the same length.
        test_mode: a broken video ends the run.
        name: name of the source in messages and in ``ClipSample.source``; its class by default.
        on_error: 'skip' or 'raise'; 'skip' in training, 'raise' in test mode.
        fault_cfg: when a video counts as broken, and how many end the run; see
            :class:`~maskforge.datasets.record_faults.RecordFaults`.

    Raises:
        ValueError: a setting out of range.
    """

    metainfo: Mapping[str, Any] = {}

    def __init__(self, video_dataset: Mapping | Any, sampler: Mapping | Any, pipeline: Sequence, *,
                 multiplier: float | int = 1, test_mode: bool = False, name: str | None = None,
                 on_error: str | None = None, fault_cfg: Mapping[str, Any] | None = None) -> None:
        self.source = DATASETS.build(dict(video_dataset)) if isinstance(video_dataset, Mapping) else video_dataset
        self.sampler = DATA_SAMPLERS.build(dict(sampler)) if isinstance(sampler, Mapping) else sampler
        self.pipeline = build_clip_pipeline(pipeline)
        self.multiplier, self.test_mode = multiplier, test_mode
        self.name = name or type(self.source).__name__
        self.on_error = on_error or ('raise' if test_mode else 'skip')
        if self.on_error not in ('skip', 'raise') or (test_mode and self.on_error == 'skip'):
            allowed = 'raise, in test mode' if test_mode else 'skip and raise'
            raise ValueError(f'on_error={on_error!r} of VOSDataset: allowed is {allowed}.')
        if not multiplier > 0 or self._extra() + self._whole() * len(self.source) == 0:
            raise ValueError(f'multiplier={multiplier!r} of VOSDataset leaves nothing of {len(self.source)} videos.')
        self.faults = RecordFaults(fault_cfg, on_error=self.on_error, noun='videos')
        self.faults.watch(len(self.source), source=self.name, name_of=self._name_of)

    def __len__(self) -> int:
        return self._whole() * len(self.source) + self._extra()

    def __getitem__(self, idx: int) -> Any:
        """Return a clip of the video, or of another one where it is broken.

        Raises:
            ValueError, FileNotFoundError: the video cannot be used (test mode), or too many in a row.
        """
        index = self.video_index(idx)
        for in_a_row in range(1, MAX_BROKEN_IN_A_ROW + 1):
            try:
                return self.faults.read(index, partial(self._clip, index))
            except Exception as error:
                if fault_of(error) is None:
                    raise
                self.faults.handle(index, error, in_a_row)
            index = int(sample_rng().integers(len(self.source)))
        raise AssertionError('the last broken video raises')

    def video_index(self, idx: int) -> int:
        """The video of a record; the records beyond the whole repeats draw one each, of a stretch of their own."""
        videos = len(self.source)
        place = idx - self._whole() * videos
        if place < 0:
            return idx % videos
        drawn = (place + sample_rng().random()) * videos / self._extra()
        return min(int(drawn), videos - 1)

    def get_data_info(self, idx: int) -> dict:
        """Name and source of a record."""
        index = self.video_index(idx)
        return dict(video_name=self.source.names[index], video_index=index, source=self.name)

    def broken_records(self) -> list[int]:
        """Indices whose video could not be used so far, in any worker process of this run."""
        broken = self.faults.broken()
        return [repeat * len(self.source) + index for repeat in range(max(self._whole(), 1)) for index in broken]

    def record_faults(self) -> list[RecordFaults]:
        """What the engine reports at the end of an epoch."""
        return [self.faults]

    def _clip(self, index: int) -> Any:
        video = self.source.video(index)
        sample = self.pipeline(load_clip(video, self.sampler.sample(video), source=self.name))
        if sample is None:
            raise ValueError(f'the transforms gave nothing for {video.path}.')
        return sample

    def _name_of(self, index: int) -> str:
        return f'video {self.source.names[index]} of {self.name}'

    def _whole(self) -> int:
        return math.floor(self.multiplier)

    def _extra(self) -> int:
        """Records beyond the whole repeats."""
        return round((self.multiplier - self._whole()) * len(self.source))
