"""Whole videos whose frames and masks are read when they are asked for: validation and inference."""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from maskforge.formats import rle
from maskforge.registry import DATASETS
from maskforge.structures import ClipSample, VideoFrames, VideoMasks

from .clip_loading import checked_segment, read_frame
from .video_source import Video

#: Pillow's filters, all with antialiasing
INTERPOLATIONS = {'bilinear': Image.Resampling.BILINEAR, 'bicubic': Image.Resampling.BICUBIC}


class _FrameLoader:
    """Reads one frame of a video as the network takes it."""

    def __init__(self, video: Video, size: tuple[int, int], interpolation: str) -> None:
        self.video, self.size, self.interpolation = video, size, interpolation

    def __call__(self, place: int) -> torch.Tensor:
        return resize_frame(read_frame(self.video.frames[place]), self.size, interpolation=self.interpolation)


class _MaskLoader:
    """Reads the masks of one frame."""

    def __init__(self, video: Video, size: tuple[int, int]) -> None:
        self.video, self.size = video, size

    def __call__(self, place: int) -> dict[int, np.ndarray]:
        frame, segments = self.video.frames[place], self.video.segments
        found = {number: checked_segment(self.video, frame, number, self.size) for number in segments.visible(frame)}
        return {number: rle.decode(item) if isinstance(item, dict) else item for number, item in found.items()}


@DATASETS.register_module()
class WholeVideoDataset(Dataset):
    """Every video of a source, once, from its first frame to its last.

    A sample is ``dict(inputs=VideoFrames, data_samples=ClipSample)``: frames at ``image_size``, and ``gt_frames``, the
    masks of the annotated frames at the size of the files. Objects may appear later.

    Args:
        video_dataset: the source, as in :class:`VOSDataset`; frames without annotations are kept.
        image_size: of the network: a number or (height, width); the aspect ratio is not kept.
        interpolation: 'bicubic' (as the official VOS inference) or 'bilinear' (as in training), with antialiasing.
        frames_kept: decoded frames of a video that stay in memory.
        test_mode: must be True; it is here because every evaluation data set has it.
        name: name of the source; its class by default.
    """

    metainfo: Mapping[str, Any] = {}

    def __init__(self, video_dataset: Mapping | Any, image_size: int | Sequence[int] = 1024, *,
                 interpolation: str = 'bicubic', frames_kept: int = 2, test_mode: bool = True,
                 name: str | None = None) -> None:
        if not test_mode:
            raise ValueError('WholeVideoDataset is for evaluation: test_mode must be True; VOSDataset trains on clips.')
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f'interpolation={interpolation!r}: allowed are {", ".join(INTERPOLATIONS)}.')
        self.source = DATASETS.build(dict(video_dataset)) if isinstance(video_dataset, Mapping) else video_dataset
        size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        self.image_size: tuple[int, int] = size
        self.interpolation, self.frames_kept, self.test_mode = interpolation, frames_kept, True
        self.name = name or type(self.source).__name__

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, idx: int) -> dict[str, Any]:
        """Return a video.

        Raises:
            FileNotFoundError, ValueError: no frames, no annotations, or files that cannot be read.
        """
        video = self.source.video(int(idx), whole=True)
        ori_shape = tuple(read_frame(video.frames[0]).shape[:2])
        annotated = [place for place, frame in enumerate(video.frames) if video.segments.is_annotated(frame)]
        if not annotated:
            raise ValueError(f'{video.path}: none of its {len(video.frames)} frames is annotated '
                             f'({video.segments.where(video.frames[0])}).')
        names = tuple(frame.name for frame in video.frames)
        sample = ClipSample(metainfo=dict(
            video_name=video.name, frame_names=names, frame_ids=tuple(frame.number for frame in video.frames),
            ori_shape=ori_shape, source=self.name, is_image=video.is_image))
        sample.gt_frames = VideoMasks(_MaskLoader(video, ori_shape), annotated,
                                      object_ids=video.segments.object_ids)
        frames = VideoFrames(names, _FrameLoader(video, self.image_size, self.interpolation), ori_shape=ori_shape,
                             kept=self.frames_kept)
        return dict(inputs=frames, data_samples=sample)

    def get_data_info(self, idx: int) -> dict:
        """Name and source of a record."""
        return dict(video_name=self.source.names[idx], source=self.name)


def resize_frame(image: np.ndarray, size: tuple[int, int], *, interpolation: str = 'bicubic') -> torch.Tensor:
    """Return (3, H, W) uint8 of a (h, w, 3) uint8 image, resized by Pillow to ``size`` (H, W)."""
    resized = Image.fromarray(np.ascontiguousarray(image)).resize((size[1], size[0]), INTERPOLATIONS[interpolation])
    return torch.from_numpy(np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1)))
