"""The frames of a video, one at a time, and the features of the last one.

Legend: H W pixels of the frames, h w pixels of the network's input.
"""
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskforge.models.sam2.input_scaling import InputScaling, bgr_tensor
from maskforge.models.sam2.network import SAM2Network
from maskforge.models.sam2.structures import ImageFeatures


class FrameSource:
    """Encodes frame t when it is asked for; the last one is kept.

    Args:
        frames: :class:`~maskforge.structures.VideoFrames`, a sequence of (H, W, 3) uint8 BGR arrays or (3, H, W)
            tensors, or an iterator of them (a camera, a decoder), which is only read forward.
        network, scaling: of the images.

    Attributes:
        length: number of frames; None for an iterator.

    Raises:
        ValueError: a video without frames, a frame of another size than the first.
    """

    def __init__(self, frames: Sequence | Iterable, network: SAM2Network, scaling: InputScaling) -> None:
        self.network, self.scaling = network, scaling
        is_sequence = hasattr(frames, '__getitem__') and hasattr(frames, '__len__')
        self.length = len(frames) if is_sequence else None
        self._frames: Any = frames if is_sequence else _Stream(iter(frames))
        if not self.has(0):
            raise ValueError('the video has no frames.')
        shape = getattr(frames, 'ori_shape', None)
        # frames that come resized know the size of their files
        self._resized = shape is not None
        self.size: tuple[int, int] = tuple(shape) if self._resized else tuple(_as_tensor(self._frames[0], 0).shape[-2:])
        self._kept: tuple[int, ImageFeatures] | None = None

    @property
    def newest(self) -> int:
        """The frame that an iterator stands at; 0 for a sequence."""
        return self._frames.place if isinstance(self._frames, _Stream) else 0

    def has(self, frame: int) -> bool:
        """Whether there is a frame of this number; an iterator is asked for it."""
        if self.length is not None:
            return 0 <= frame < self.length
        return frame >= 0 and self._frames.reaches(frame)

    @torch.no_grad()
    def features(self, frame: int) -> ImageFeatures:
        """Features of one image (B = 1).

        Raises:
            IndexError: no such frame, or one that an iterator has passed.
        """
        if self._kept is None or self._kept[0] != frame:
            if not self.has(frame):
                end = '' if self.length is None else f' of a video of {self.length} frames'
                raise IndexError(f'frame {frame}{end} does not exist.')
            image = _as_tensor(self._frames[frame], frame)
            if not self._resized and tuple(image.shape[-2:]) != self.size:
                raise ValueError(f'frame {frame} has the size (h, w) = {tuple(image.shape[-2:])}, the first one '
                                 f'{self.size}; all frames of a video have one size.')
            device = next(self.network.parameters()).device
            self._kept = None  # free before the next one is made
            self._kept = frame, self.network.encode_images(self.scaling.images(image[None], device))
        return self._kept[1]


class _Stream:
    """The last frame that an iterator gave, under its number."""

    def __init__(self, frames: Iterator) -> None:
        self._frames, self.place, self._frame = frames, -1, None

    def reaches(self, frame: int) -> bool:
        while self.place < frame:
            following = next(self._frames, None)
            if following is None:
                return False
            self.place, self._frame = self.place + 1, following
        return True

    def __getitem__(self, frame: int) -> Any:
        if frame < self.place or not self.reaches(frame):
            raise IndexError(f'the stream stands at frame {self.place}, frame {frame} is gone; give a sequence of '
                             'frames to go back in a video.')
        return self._frame


def _as_tensor(frame: Any, number: int) -> Tensor:
    if isinstance(frame, Tensor):
        if frame.ndim != 3 or frame.shape[0] != 3 or frame.dtype != torch.uint8:
            raise ValueError(f'frame {number}: a tensor is (3, H, W) of uint8, got {tuple(frame.shape)} of '
                             f'{frame.dtype}.')
        return frame
    return bgr_tensor(np.asarray(frame), source=f'frame {number}')
